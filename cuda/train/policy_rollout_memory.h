// SPDX-License-Identifier: Apache-2.0
// Device memory of a policy's rollouts: what planners propose with and what its gradient is of.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "kernels/policy_job.h"
#include "runtime/device.h"
#include "softmpc/planner.h"

namespace softmpc::cuda {

class PolicyRolloutMemory {
 public:
  /// For a rollout of `nets.horizon` steps from max_problems states; of `nets` the networks, their
  /// stack and the horizon are given. `critic` may be null.
  PolicyRolloutMemory(Device& device, const PlannerConfig& config, const ProblemShape& shape,
                      const PolicyRollout& nets, const FlatNet* critic = nullptr);

  const PolicyRollout& rollout() const { return rollout_; }
  /// Another block [components, (H+1) R], zero.
  float* columns(int components);
  /// A copy of `values` on the device; waits.
  const float* constant(std::span<const float> values);

 private:
  Device& device_;
  PolicyRollout rollout_;
  std::vector<std::unique_ptr<Memory>> blocks_;
};

}  // namespace softmpc::cuda
