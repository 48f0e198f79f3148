// SPDX-License-Identifier: Apache-2.0
#include "torch/torch_net.h"

#include <ATen/Parallel.h>

#include "learn/initialisation.h"
#include "learn/tensor_state.h"
#include "softmpc/hd/layer_norm.h"

namespace softmpc {
namespace {

torch::Tensor activated(const torch::Tensor& z, Activation activation) {
  switch (activation) {
    case Activation::silu:
      return torch::silu(z);
    case Activation::tanh:
      return torch::tanh(z);
    case Activation::none:
      break;
  }
  return z;
}

}  // namespace

std::vector<float> host_values(const torch::Tensor& tensor) {
  const torch::Tensor host = tensor.detach().to(torch::kCPU, torch::kFloat).contiguous();
  const float* data = host.data_ptr<float>();
  return {data, data + host.numel()};
}

torch::Tensor tensor_of(std::span<const float> values, torch::IntArrayRef shape,
                        const torch::TensorOptions& options) {
  // from_blob wants a mutable pointer; the copy that follows only reads
  return torch::from_blob(const_cast<float*>(values.data()), shape, torch::kFloat)
      .to(options.device(), c10::typeMetaToScalarType(options.dtype()), /*non_blocking=*/false,
          /*copy=*/true);
}

void use_one_thread() {
  // OpenMP keeps the number of threads per calling thread
  thread_local const bool once = [] {
    at::set_num_threads(1);
    return true;
  }();
  (void)once;
}

TorchNet::TorchNet(int stack, NetSpec spec, double learning_rate, torch::TensorOptions options)
    : stack_(stack), spec_(std::move(spec)), learning_rate_(learning_rate) {
  const std::int64_t count = static_cast<std::int64_t>(spec_.parameters()) * stack_;
  parameters_ = torch::zeros({count}, options).requires_grad_();
  mean_ = torch::zeros({count}, options);
  variance_ = torch::zeros({count}, options);
  steps_ = torch::zeros({}, options.dtype(torch::kFloat));
}

void TorchNet::initialise(std::uint64_t seed, std::uint32_t network) {
  const std::vector<float> values = initial_parameters(stack_, spec_, seed, network);
  const torch::NoGradGuard no_gradient;
  parameters_.copy_(tensor_of(values, {parameters_.numel()}, parameters_.options()));
}

torch::Tensor TorchNet::forward(torch::Tensor h, const torch::Tensor& parameters) const {
  const auto view = [&](int layer, Part part) {
    const ParameterSlot slot = spec_.slot(layer, part);
    const auto size = static_cast<std::int64_t>(slot.size()) * stack_;
    const torch::Tensor flat =
        parameters.narrow(0, static_cast<std::int64_t>(slot.offset) * stack_, size);
    return part == Part::weight ? flat.view({stack_, slot.rows, slot.cols})
                                : flat.view({stack_, 1, slot.rows});
  };
  if (h.size(0) != stack_) h = h.expand({stack_, h.size(1), h.size(2)});
  for (int l = 0; l < spec_.depth(); ++l) {
    const LayerSpec& layer = spec_.layers[l];
    torch::Tensor z = torch::baddbmm(view(l, Part::bias), h, view(l, Part::weight).transpose(1, 2));
    if (layer.normalise)
      z = torch::layer_norm(z, {layer.width}, {}, {}, hd::kLayerNormEpsilon) *
              view(l, Part::norm_scale) +
          view(l, Part::norm_shift);
    h = activated(z, layer.activation);
  }
  return h;
}

void TorchNet::descend(const torch::Tensor& loss) {
  torch::Tensor gradient = torch::autograd::grad({loss}, {parameters_})[0];
  const torch::NoGradGuard no_gradient;
  steps_.add_(1);
  torch::Tensor parameters = parameters_.detach();
  at::_fused_adam_({parameters}, {gradient}, {mean_}, {variance_}, {}, {steps_}, learning_rate_,
                   /*beta1=*/0.9, /*beta2=*/0.999, /*weight_decay=*/0.0, /*eps=*/1e-8,
                   /*amsgrad=*/false, /*maximize=*/false);
}

void TorchNet::follow(const TorchNet& online, double tau) {
  const torch::NoGradGuard no_gradient;
  parameters_.lerp_(online.parameters_, tau);
}

void TorchNet::export_to(NetWeights& weights) const {
  torch::from_blob(weights.parameters.data(), {parameters_.numel()}, torch::kFloat)
      .copy_(parameters_.detach());
}

void TorchNet::save_parameters(TensorFile& file, const std::string& name) const {
  put(file, name, host_values(parameters_));
}

void TorchNet::load_parameters(const TensorFile& file, const std::string& name) {
  const torch::NoGradGuard no_gradient;
  const std::vector<float> values = get<float>(file, name, parameters_.numel());
  parameters_.copy_(tensor_of(values, {parameters_.numel()}, parameters_.options()));
}

void TorchNet::save(TensorFile& file, const std::string& name) const {
  save_parameters(file, name + ".parameters");
  put(file, name + ".adam_mean", host_values(mean_));
  put(file, name + ".adam_variance", host_values(variance_));
  put<std::int64_t>(file, name + ".adam_count", {steps_.item<std::int64_t>()});
}

void TorchNet::load(const TensorFile& file, const std::string& name) {
  load_parameters(file, name + ".parameters");
  for (auto [moment, entry] : {std::pair{&mean_, ".adam_mean"}, {&variance_, ".adam_variance"}})
    moment->copy_(tensor_of(get<float>(file, name + entry, moment->numel()), {moment->numel()},
                            moment->options()));
  steps_.fill_(get<std::int64_t>(file, name + ".adam_count", 1)[0]);
}

}  // namespace softmpc
