// SPDX-License-Identifier: Apache-2.0
#include "train/train_net.h"

#include <algorithm>
#include <utility>

#include "kernels/train_memory.h"
#include "plan/net.h"

namespace softmpc::cuda {
namespace {

std::unique_ptr<Memory> floats(Device& device, std::size_t count) {
  return device.allocate(count * sizeof(float));
}

int padded(int rows) { return parts_of(rows, kTrainRows) * kTrainRows; }

}  // namespace

std::unique_ptr<Memory> TrainNet::columns(Device& device, int components, int rows) {
  return floats(device, static_cast<std::size_t>(components) * padded(rows));
}

TrainNet::TrainNet(Device& device, int networks, const NetSpec& spec, int rows, float* parameters,
                   float* target) {
  TrainStack& s = stack_;
  s.networks = networks;
  s.table = parameter_table(spec);
  s.in = spec.inputs;
  s.width = spec.layers[0].width;
  s.hidden = spec.depth() - 1;
  s.out = spec.outputs();
  s.rows = rows;
  s.stride = padded(rows);
  s.parameters = parameters;
  s.target = target;
  mean_ = floats(device, parameter_count());
  variance_ = floats(device, parameter_count());
  input_ = columns(device, s.in, rows);
  const std::size_t hidden = s.block_of(s.hidden, 0);
  z_ = floats(device, hidden);
  h_ = floats(device, hidden);
  dz_ = floats(device, hidden);
  y_ = columns(device, networks * s.out, rows);
  if (spec.normalises()) {
    rate_ = columns(device, s.hidden * networks, rows);
    norm_sums_ = floats(device, s.norm_sums_of(networks, 0));
    s.rate = rate_->as<float>();
    s.norm_sums = norm_sums_->as<float>();
  }
  sums_ = device.allocate(3 * networks * sizeof(double));
  once_ = device.allocate(sizeof(hd::AdamStep) + sizeof(int));
  s.mean = mean_->as<float>();
  s.variance = variance_->as<float>();
  s.step = step();
  s.move_target = move_target();
  s.input = input();
  s.z = z_->as<float>();
  s.h = h_->as<float>();
  s.dz = dz_->as<float>();
  s.y = y_->as<float>();
  s.loss_sum = sums_->as<double>();
  s.q_sum = s.loss_sum + networks;
  s.goal_sum = s.q_sum + networks;
}

TrainStep::TrainStep(Device& device) : device_(device) {
  const auto load = [&](Pass pass, const char* call, const char* header) {
    KernelSource source;
    source.call = call;
    source.header = header;
    source.job = "TrainJob";
    source.threads = kTrainThreads;
    kernel_[static_cast<int>(pass)] = device.load(source);
  };
  load(Pass::forward, "train_forward", "train_layer.cuh");
  load(Pass::norm_forward, "train_norm_forward", "train_norm.cuh");
  load(Pass::backward, "train_backward", "train_layer.cuh");
  load(Pass::norm_backward, "train_norm_backward", "train_norm.cuh");
}

int TrainStep::blocks(Pass pass, const TrainStack& stack, int layer) {
  switch (pass) {
    case Pass::forward:
      return forward_blocks(stack, layer);
    case Pass::backward:
      return backward_blocks(stack, layer);
    case Pass::norm_forward:
    case Pass::norm_backward:
      return norm_blocks(stack, layer);
  }
  return 0;
}

/// Step 0, 1, ... of a pass; a stack that has fewer takes no part in the last ones.
void TrainStep::launch_layer(Pass pass, const TrainStack* const (&stacks)[2], int step) {
  TrainJob job{};
  int all = 0;
  for (int i = 0; i < 2; ++i) {
    job.first_block[i] = all;
    if (!stacks[i]) continue;
    const TrainStack& s = job.stack[i] = *stacks[i];
    if (pass == Pass::forward || pass == Pass::norm_forward)
      job.layer[i] = step;
    else
      job.layer[i] = s.hidden - step - (pass == Pass::norm_backward ? 1 : 0);
    all += blocks(pass, s, job.layer[i]);
  }
  if (all == 0) return;
  device_.launch(*kernel_[static_cast<int>(pass)],
                 {.blocks = all, .threads = kTrainThreads, .shared_bytes = sizeof(TrainMemory)},
                 job);
}

void TrainStep::launch(const TrainStack* first, const TrainStack* second) {
  const TrainStack* const stacks[2] = {first, second};
  int hidden = 0;
  for (const TrainStack* s : stacks) hidden = std::max(hidden, s ? s->hidden : 0);
  for (const auto& [pass, then] : {std::pair(Pass::forward, Pass::norm_forward),
                                   std::pair(Pass::backward, Pass::norm_backward)})
    for (int step = 0; step <= hidden; ++step) {
      launch_layer(pass, stacks, step);
      launch_layer(then, stacks, step);
    }
}

}  // namespace softmpc::cuda
