// SPDX-License-Identifier: Apache-2.0
#include "train/policy_rollout_memory.h"

#include <algorithm>

#include "planner_inputs.h"

namespace softmpc::cuda {

PolicyRolloutMemory::PolicyRolloutMemory(Device& device, const PlannerConfig& config,
                                         const ProblemShape& shape, const PolicyRollout& nets,
                                         const FlatNet* critic)
    : device_(device), rollout_(nets) {
  const PlannerConstants values(config, shape);
  PolicyRollout& r = rollout_;
  r.nx = shape.nx;
  r.nu = shape.nu;
  r.rows = shape.max_problems;
  r.stride = (r.horizon + 1) * parts_of(r.rows, kTrainRows) * kTrainRows;
  r.low = constant(shape.action_low);
  r.high = constant(shape.action_high);
  r.neutral = constant(values.neutral);
  r.state = columns(r.nx);
  r.unit = columns(r.nu);
  r.alive = columns(1);
  r.policy_input = columns(r.nx);
  r.policy_z = columns(r.policy.hidden * r.policy.width);
  r.model_input = columns(r.nx + r.nu);
  r.model_z = columns(
      std::max(r.members.hidden * r.members.width, critic ? critic->hidden * critic->width : 0));
  r.model_output = columns(r.members.out);
  const auto normalising = [](const FlatNet& net) { return net.normalises ? net.hidden : 0; };
  if (const int layers = std::max(normalising(r.members), critic ? normalising(*critic) : 0))
    r.model_rate = columns(layers);
}

float* PolicyRolloutMemory::columns(int components) {
  const std::size_t floats = static_cast<std::size_t>(components) * rollout_.stride;
  blocks_.push_back(device_.allocate(floats * sizeof(float)));
  return blocks_.back()->as<float>();
}

const float* PolicyRolloutMemory::constant(std::span<const float> values) {
  blocks_.push_back(device_.allocate(std::max(values.size_bytes(), sizeof(float))));
  device_.upload(blocks_.back()->data(), values.data(), values.size_bytes());
  device_.synchronise();
  return blocks_.back()->as<float>();
}

}  // namespace softmpc::cuda
