// SPDX-License-Identifier: Apache-2.0
#include "train/train_net.h"

#include <algorithm>

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
  const auto load = [&](const char* call) {
    KernelSource source;
    source.call = call;
    source.header = "train_layer.cuh";
    source.job = "TrainJob";
    source.threads = kTrainThreads;
    return device.load(source);
  };
  forward_ = load("train_forward");
  backward_ = load("train_backward");
}

/// Step 0, 1, ... of a pass; a stack that has fewer takes no part in the last ones.
void TrainStep::launch_layer(Pass pass, const TrainStack* const (&stacks)[2], int step) {
  TrainJob job{};
  int blocks = 0;
  for (int i = 0; i < 2; ++i) {
    job.first_block[i] = blocks;
    if (!stacks[i]) continue;
    const TrainStack& s = job.stack[i] = *stacks[i];
    const int l = job.layer[i] = pass == Pass::forward ? step : s.hidden - step;
    if (pass == Pass::forward && l <= s.hidden) blocks += forward_blocks(s, l);
    if (pass == Pass::backward && l >= 1) blocks += backward_blocks(s, l);
  }
  if (blocks == 0) return;
  device_.launch(pass == Pass::forward ? *forward_ : *backward_,
                 {.blocks = blocks, .threads = kTrainThreads, .shared_bytes = sizeof(TrainMemory)},
                 job);
}

void TrainStep::launch(const TrainStack* first, const TrainStack* second) {
  const TrainStack* const stacks[2] = {first, second};
  int hidden = 0;
  for (const TrainStack* s : stacks) hidden = std::max(hidden, s ? s->hidden : 0);
  for (int step = 0; step <= hidden; ++step) launch_layer(Pass::forward, stacks, step);
  for (int step = 0; step < hidden; ++step) launch_layer(Pass::backward, stacks, step);
}

}  // namespace softmpc::cuda
