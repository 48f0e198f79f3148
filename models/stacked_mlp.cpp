// SPDX-License-Identifier: Apache-2.0
#include "stacked_mlp.h"

#include <ATen/Parallel.h>

#include <cstring>

#include "initialisation.h"

namespace softmpc {

StackedMlp::StackedMlp(int stack, NetSpec spec, at::ScalarType type)
    : stack_(stack), spec_(std::move(spec)) {
  const auto total = static_cast<std::int64_t>(spec_.parameters()) * stack_;
  parameters_ = at::zeros({total}, type);
  gradient_ = at::zeros({total}, type);
  make_views();
}

void StackedMlp::make_views() {
  spec_.for_each_slot([&](const ParameterSlot& slot) {
    const std::int64_t first = static_cast<std::int64_t>(slot.offset) * stack_,
                       count = static_cast<std::int64_t>(slot.size()) * stack_;
    const bool matrix = slot.part == Part::weight;
    const std::vector<std::int64_t> shape = {stack_, matrix ? slot.rows : 1,
                                             matrix ? slot.cols : slot.rows};
    (matrix ? weight_ : bias_).push_back(parameters_.narrow(0, first, count).view(shape));
    (matrix ? weight_gradient_ : bias_gradient_)
        .push_back(gradient_.narrow(0, first, count).view(shape));
  });
  input_.resize(weight_.size());
  pre_.resize(weight_.size());
}

void StackedMlp::initialise(std::uint64_t seed, std::uint32_t network) {
  const std::vector<float> values = initial_parameters(stack_, spec_, seed, network);
  parameters_.copy_(borrow(values, {static_cast<std::int64_t>(values.size())}));
}

at::Tensor StackedMlp::forward(const at::Tensor& x) {
  at::Tensor h = x.size(0) == stack_ ? x : x.expand({stack_, x.size(1), x.size(2)});
  for (std::size_t l = 0; l < weight_.size(); ++l) {
    input_[l] = h;
    pre_[l] = at::baddbmm(bias_[l], h, weight_[l].transpose(1, 2));
    h = l + 1 < weight_.size() ? at::silu(pre_[l]) : pre_[l];
  }
  return h;
}

at::Tensor StackedMlp::backward(const at::Tensor& dy, bool input_gradient) {
  at::Tensor dz = dy;
  for (std::size_t l = weight_.size(); l-- > 0;) {
    if (l + 1 < weight_.size()) dz = at::silu_backward(dz, pre_[l]);
    at::bmm_out(weight_gradient_[l], dz.transpose(1, 2), input_[l]);
    at::sum_out(bias_gradient_[l], dz, {1}, /*keepdim=*/true);
    if (l > 0 || input_gradient) dz = at::bmm(dz, weight_[l]);
  }
  return input_gradient ? dz : at::Tensor();
}

void StackedMlp::export_to(NetWeights& weights) const {
  std::memcpy(weights.parameters.data(), parameters_.data_ptr<float>(),
              weights.parameters.size() * sizeof(float));
}

Adam::Adam(const at::Tensor& parameters, double learning_rate)
    : mean(at::zeros_like(parameters)),
      variance(at::zeros_like(parameters)),
      count(at::zeros({}, at::kFloat)),
      learning_rate_(learning_rate) {}

void Adam::step(at::Tensor& parameters, at::Tensor& gradient) {
  count.add_(1);
  at::_fused_adam_({parameters}, {gradient}, {mean}, {variance}, {}, {count}, learning_rate_,
                   /*beta1=*/0.9, /*beta2=*/0.999, /*weight_decay=*/0.0, /*eps=*/1e-8,
                   /*amsgrad=*/false, /*maximize=*/false);
}

void polyak(at::Tensor& target, const at::Tensor& online, double tau) { target.lerp_(online, tau); }

void use_one_thread() {
  // OpenMP keeps the number of threads per calling thread
  thread_local const bool once = [] {
    at::set_num_threads(1);
    return true;
  }();
  (void)once;
}

at::Tensor borrow(const std::vector<float>& data, at::IntArrayRef shape) {
  // from_blob wants a mutable pointer; the tensors made here are only read
  return at::from_blob(const_cast<float*>(data.data()), shape, at::kFloat);
}

}  // namespace softmpc
