// SPDX-License-Identifier: Apache-2.0
// A stack of E equally shaped MLPs that is trained as one: parameters, gradients and Adam's moments
// are flat tensors, layers are views of them. The backward pass is written out, because recording a
// graph of twenty small operators costs more than computing them; tests compare it with autograd in
// double precision.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "softmpc/network.h"

namespace softmpc {

class StackedMlp {
 public:
  StackedMlp(int stack, NetSpec spec, at::ScalarType type = at::kFloat);

  int stack() const { return stack_; }
  const NetSpec& spec() const { return spec_; }

  /// initial_parameters().
  void initialise(std::uint64_t seed, std::uint32_t network);

  /// x [E or 1, N, in] -> [E, N, out]; keeps the activations for backward().
  at::Tensor forward(const at::Tensor& x);
  /// From dL/dy [E, N, out] of the last forward(): fills gradient(); returns dL/dx [E, N, in] if
  /// `input_gradient`.
  at::Tensor backward(const at::Tensor& dy, bool input_gradient = false);

  at::Tensor& parameters() { return parameters_; }
  const at::Tensor& parameters() const { return parameters_; }
  at::Tensor& gradient() { return gradient_; }
  at::Tensor weight(int layer) const { return weight_[layer]; }  ///< [E, out, in], a view
  at::Tensor bias(int layer) const { return bias_[layer]; }      ///< [E, 1, out], a view
  at::Tensor weight_gradient(int layer) const { return weight_gradient_[layer]; }
  at::Tensor bias_gradient(int layer) const { return bias_gradient_[layer]; }

  /// Copies the weights (not the normalisation) to plain arrays of the same shape; no allocation.
  void export_to(NetWeights& weights) const;

 private:
  void make_views();

  int stack_;
  NetSpec spec_;
  at::Tensor parameters_, gradient_;  // [P]
  std::vector<at::Tensor> weight_, bias_, weight_gradient_, bias_gradient_;
  std::vector<at::Tensor> input_, pre_;  // per layer: its input, its output before SiLU
};

/// Adam (Kingma & Ba 2015) with PyTorch's defaults, fused over flat storage.
class Adam {
 public:
  Adam(const at::Tensor& parameters, double learning_rate);
  void step(at::Tensor& parameters, at::Tensor& gradient);

  at::Tensor mean, variance;  // [P] first and second moment
  at::Tensor count;           // steps so far

 private:
  double learning_rate_;
};

/// theta_target <- tau theta + (1 - tau) theta_target
void polyak(at::Tensor& target, const at::Tensor& online, double tau);

/// LibTorch computes on the calling thread alone: bits must not depend on how work is split.
void use_one_thread();

/// A tensor that borrows `data` (float32) in the given shape.
at::Tensor borrow(const std::vector<float>& data, at::IntArrayRef shape);

}  // namespace softmpc
