// SPDX-License-Identifier: Apache-2.0
#include "fused_mlp.h"

#include <algorithm>

#include "initialisation.h"
#include "tensor_state.h"

namespace softmpc {
namespace {

std::size_t group_rows(int outputs) {
  return static_cast<std::size_t>(cpu::groups_of(outputs)) * cpu::kGroup;
}

void grow(cpu::AlignedFloats& v, std::size_t size) {
  if (v.size() < size) v.resize(size);
}

/// Calls f(packed offset) for the parameters in the order of checkpoints.
template <class F>
void over_parameters(const PackedShape& shape, int stack, const F& f) {
  for (const PackedShape::Layer& layer : shape.layers) {
    for (int e = 0; e < stack; ++e)
      for (int o = 0; o < layer.out; ++o)
        for (int i = 0; i < layer.in; ++i) f(e * shape.floats + PackedShape::at(layer, o, i));
    for (int e = 0; e < stack; ++e)
      for (int o = 0; o < layer.out; ++o) f(e * shape.floats + layer.bias + o);
  }
}

std::size_t parameter_count(const PackedShape& shape, int stack) {
  std::size_t count = 0;
  for (const PackedShape::Layer& layer : shape.layers)
    count += static_cast<std::size_t>(stack) * layer.out * (layer.in + 1);
  return count;
}

}  // namespace

std::vector<float> flat_parameters(const PackedShape& shape, int stack, const float* packed) {
  std::vector<float> flat;
  flat.reserve(parameter_count(shape, stack));
  over_parameters(shape, stack, [&](std::size_t at) { flat.push_back(packed[at]); });
  return flat;
}

void set_flat_parameters(const PackedShape& shape, int stack, const std::vector<float>& flat,
                         float* packed) {
  auto from = flat.begin();
  over_parameters(shape, stack, [&](std::size_t at) { packed[at] = *from++; });
}

void TrainBlock::resize(int new_rows, int new_count) {
  rows = new_rows;
  count = new_count;
  lanes = cpu::pad_lanes(count);
  data.assign(static_cast<std::size_t>(rows) * lanes, 0.0f);
}

FusedMlp::FusedMlp(int stack, std::vector<int> sizes, double learning_rate, bool spare, int planned,
                   Precision precision)
    : stack_(stack),
      sizes_(std::move(sizes)),
      learning_rate_(learning_rate),
      copies_(spare ? 2 : 1) {
  const MlpWeights zeros = MlpWeights::zeros(stack_, sizes_);
  for (int copy = 0; copy < copies_; ++copy)
    net_[copy] = std::make_shared<PackedMlp>(zeros, cpu::Activation::none, planned, precision);
  const std::size_t floats = net_[0]->shape().floats * stack_;
  mean_.resize(floats);
  variance_.resize(floats);
}

void FusedMlp::initialise(std::uint64_t seed, std::uint32_t network) {
  PackedMlp& net = *net_[active_];
  set_flat_parameters(net.shape(), stack_, initial_parameters(stack_, sizes_, seed, network),
                      net.network(0));
  for (int e = 0; e < stack_; ++e) net.refresh(e);
}

/// A layer of the present weights with all its outputs and no activation.
cpu::PackedLayer FusedMlp::linear(int index, std::size_t l) const {
  cpu::PackedLayer layer = net_[active_]->layer(index, l);
  layer.out = sizes_[l + 1];
  layer.activation = cpu::Activation::none;
  return layer;
}

const float* FusedMlp::forward(int index, const TrainBlock& input, TrainScratch& s) const {
  const auto& kernels = cpu::kernels();
  const std::size_t layers = sizes_.size() - 1;
  s.z.resize(layers);
  s.h.resize(layers);
  const float* h = input.data.data();
  for (std::size_t l = 0; l < layers; ++l) {
    const std::size_t size = group_rows(sizes_[l + 1]) * input.lanes;
    grow(s.z[l], size);
    kernels.dense(linear(index, l), h, input.lanes, s.z[l].data(), input.lanes, input.lanes);
    if (l + 1 == layers) break;
    grow(s.h[l], size);
    kernels.silu(s.z[l].data(), s.h[l].data(),
                 static_cast<std::int64_t>(sizes_[l + 1]) * input.lanes);
    h = s.h[l].data();
  }
  return s.z.back().data();
}

float* FusedMlp::output_gradient(const TrainBlock& input, TrainScratch& s) const {
  std::size_t rows = 0;
  for (int size : sizes_) rows = std::max(rows, group_rows(size));
  for (auto* block : {&s.dz, &s.dh, &s.turned}) grow(*block, rows * input.lanes);
  std::fill_n(s.dz.begin(), group_rows(sizes_.back()) * input.lanes, 0.0f);
  return s.dz.data();
}

void FusedMlp::backward(int index, const TrainBlock& input, TrainScratch& s, bool descend,
                        bool input_gradient) const {
  const auto& kernels = cpu::kernels();
  const PackedShape& shape = net_[active_]->shape();
  const int lanes = input.lanes;
  for (std::size_t l = shape.layers.size(); l-- > 0;) {
    const PackedShape::Layer& layer = shape.layers[l];
    // before the weights move: they may do so in place
    if (l > 0 || input_gradient)
      kernels.dense_transposed(linear(index, l), s.dz.data(), s.dh.data(), lanes, lanes);
    if (descend) {
      const int rows = static_cast<int>(group_rows(layer.out));
      kernels.transpose(s.dz.data(), rows, lanes, s.turned.data(), rows, lanes);
      const std::size_t at = index * shape.floats + layer.weight;
      PackedMlp& next = *net_[copies_ - 1 - active_];
      kernels.descend({layer.in, layer.out, lanes, l > 0 ? s.h[l - 1].data() : input.data.data(),
                       s.turned.data(), net_[active_]->network(0) + at, next.network(0) + at,
                       mean_.data() + at, variance_.data() + at,
                       hd::adam_step(learning_rate_, steps_)});
    }
    if (l == 0) break;
    const std::size_t used = static_cast<std::size_t>(layer.in) * lanes;
    kernels.silu_backward(s.z[l - 1].data(), s.dh.data(), static_cast<std::int64_t>(used));
    std::fill(s.dh.begin() + static_cast<std::ptrdiff_t>(used),
              s.dh.begin() + static_cast<std::ptrdiff_t>(group_rows(layer.in) * lanes), 0.0f);
    std::swap(s.dz, s.dh);
  }
}

void FusedMlp::descend(int index, const TrainBlock& input, TrainScratch& scratch) {
  backward(index, input, scratch, true, false);
  net_[copies_ - 1 - active_]->refresh(index);
}

const float* FusedMlp::input_gradient(int index, const TrainBlock& input,
                                      TrainScratch& scratch) const {
  backward(index, input, scratch, false, true);
  return scratch.dh.data();
}

void FusedMlp::publish(const MlpWeights& weights) {
  active_ = copies_ - 1 - active_;
  net_[active_]->set_normalisation(weights);
}

void FusedMlp::save_parameters(TensorFile& file, const std::string& name) const {
  const PackedMlp& net = *net_[active_];
  put(file, name, flat_parameters(net.shape(), stack_, net.network(0)));
}

void FusedMlp::load_parameters(const TensorFile& file, const std::string& name) {
  PackedMlp& net = *net_[active_];
  const PackedShape& shape = net.shape();
  set_flat_parameters(shape, stack_, get<float>(file, name, parameter_count(shape, stack_)),
                      net.network(0));
  for (int e = 0; e < stack_; ++e) net.refresh(e);
}

void FusedMlp::save(TensorFile& file, const std::string& name) const {
  const PackedShape& shape = net_[active_]->shape();
  save_parameters(file, name + ".parameters");
  put(file, name + ".adam_mean", flat_parameters(shape, stack_, mean_.data()));
  put(file, name + ".adam_variance", flat_parameters(shape, stack_, variance_.data()));
  put<std::int64_t>(file, name + ".adam_count", {steps_});
}

void FusedMlp::load(const TensorFile& file, const std::string& name) {
  const PackedShape& shape = net_[active_]->shape();
  const std::size_t count = parameter_count(shape, stack_);
  load_parameters(file, name + ".parameters");
  set_flat_parameters(shape, stack_, get<float>(file, name + ".adam_mean", count), mean_.data());
  set_flat_parameters(shape, stack_, get<float>(file, name + ".adam_variance", count),
                      variance_.data());
  steps_ = get<std::int64_t>(file, name + ".adam_count", 1)[0];
}

}  // namespace softmpc
