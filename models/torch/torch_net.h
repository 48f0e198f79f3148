// SPDX-License-Identifier: Apache-2.0
// A stack of nets for autograd: all parameters of E nets are one leaf, in the order of
// NetWeights::parameters; layers are views of it.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <span>
#include <string>

#include "io/safetensors.h"
#include "softmpc/net.h"

namespace softmpc {

class TorchNet {
 public:
  TorchNet(int stack, NetSpec spec, double learning_rate, torch::TensorOptions options);

  /// initial_parameters().
  void initialise(std::uint64_t seed, std::uint32_t network);
  /// Standardised inputs x [1 or E, N, in] -> [E, N, out].
  torch::Tensor forward(const torch::Tensor& x) const { return forward(x, parameters_); }
  /// The same with constant parameters: gradients flow to x alone.
  torch::Tensor forward_constant(const torch::Tensor& x) const {
    return forward(x, parameters_.detach());
  }
  /// One step of Adam down the gradient of `loss`, a scalar.
  void descend(const torch::Tensor& loss);
  /// theta <- tau theta' + (1 - tau) theta, theta' being those of `online`.
  void follow(const TorchNet& online, double tau);

  const NetSpec& spec() const { return spec_; }
  /// Copies the parameters to weights of the same shape.
  void export_to(NetWeights& weights) const;

  /// Parameters and moments under the names of FusedMlp::save(), in float32.
  void save(TensorFile& file, const std::string& name) const;
  void load(const TensorFile& file, const std::string& name);
  void save_parameters(TensorFile& file, const std::string& name) const;
  void load_parameters(const TensorFile& file, const std::string& name);

 private:
  torch::Tensor forward(torch::Tensor h, const torch::Tensor& parameters) const;

  int stack_;
  NetSpec spec_;
  double learning_rate_;
  torch::Tensor parameters_;       // [E * P], the leaf
  torch::Tensor mean_, variance_;  // Adam's moments
  torch::Tensor steps_;            // scalar, float32
};

/// The values in float32 on the host.
std::vector<float> host_values(const torch::Tensor& tensor);

/// `values` in the given shape, type and place.
torch::Tensor tensor_of(std::span<const float> values, torch::IntArrayRef shape,
                        const torch::TensorOptions& options);

/// LibTorch computes on the calling thread alone: bits must not depend on how work is split.
void use_one_thread();

}  // namespace softmpc
