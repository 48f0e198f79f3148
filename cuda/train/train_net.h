// SPDX-License-Identifier: Apache-2.0
// A stack of networks in training on the device, and the launches of one gradient step.
#pragma once

#include <memory>
#include <vector>

#include "kernels/train_job.h"
#include "runtime/device.h"
#include "softmpc/net.h"

namespace softmpc::cuda {

/// Moments, activations and sums beside the parameters of a stack [E, P] (net.h).
class TrainNet {
 public:
  /// For batches of `rows`; `parameters` and `target` (null: none) are the caller's. Loss and goals
  /// of stack() are the caller's to set.
  TrainNet(Device& device, int networks, const NetSpec& spec, int rows, float* parameters,
           float* target = nullptr);

  TrainStack& stack() { return stack_; }
  const TrainStack& stack() const { return stack_; }
  std::size_t parameter_count() const { return stack_.base(stack_.networks); }
  float* input() const { return input_->as<float>(); }
  hd::AdamStep* step() const { return once_->as<hd::AdamStep>(); }
  int* move_target() const { return reinterpret_cast<int*>(step() + 1); }
  /// Columns [components, R] of the batch, zero.
  static std::unique_ptr<Memory> columns(Device& device, int components, int rows);

 private:
  TrainStack stack_{};
  std::unique_ptr<Memory> mean_, variance_, input_, z_, h_, dz_, y_, sums_, once_;
  std::unique_ptr<Memory> rate_, norm_sums_;  // empty without LayerNorm
};

/// The kernels of gradient steps.
class TrainStep {
 public:
  explicit TrainStep(Device& device);
  /// Forward, loss, backward and Adam of one or two stacks on the batches they hold; `second` may
  /// be null.
  void launch(const TrainStack* first, const TrainStack* second);

 private:
  enum class Pass { forward, norm_forward, backward, norm_backward };
  static int blocks(Pass pass, const TrainStack& stack, int layer);
  void launch_layer(Pass pass, const TrainStack* const (&stacks)[2], int step);

  Device& device_;
  std::shared_ptr<Kernel> kernel_[4];  // by Pass
};

}  // namespace softmpc::cuda
