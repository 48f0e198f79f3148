// SPDX-License-Identifier: Apache-2.0
#include "learn/fused_mlp.h"

#include <algorithm>

#include "learn/initialisation.h"
#include "learn/tensor_state.h"
#include "softmpc/error.h"
#include "softmpc/hd/adam.h"

namespace softmpc {
namespace {

std::size_t group_rows(int outputs) {
  return static_cast<std::size_t>(cpu::groups_of(outputs)) * cpu::kGroup;
}

void grow(cpu::AlignedFloats& v, std::size_t size) {
  if (v.size() < size) v.resize(size);
}

}  // namespace

void TrainBlock::resize(int new_rows, int new_count) {
  rows = new_rows;
  count = new_count;
  lanes = cpu::pad_lanes(count);
  data.assign(static_cast<std::size_t>(rows) * lanes, 0.0f);
}

FusedMlp::FusedMlp(int stack, NetSpec spec, double learning_rate, bool spare, int planned,
                   Precision precision)
    : stack_(stack), spec_(std::move(spec)), learning_rate_(learning_rate), copies_(spare ? 2 : 1) {
  for (int l = 0; l < spec_.depth(); ++l)
    if (spec_.layers[l].activation != (l + 1 < spec_.depth() ? Activation::silu : Activation::none))
      throw UsageError("network: the fused learner trains SiLU between layers and a linear head");
  const NetWeights zeros = NetWeights::zeros(stack_, spec_);
  for (int copy = 0; copy < copies_; ++copy)
    net_[copy] = std::make_shared<PackedMlp>(zeros, Activation::none, planned, precision);
  const std::size_t floats = net_[0]->layout().floats() * stack_;
  mean_.resize(floats);
  variance_.resize(floats);
}

void FusedMlp::initialise(std::uint64_t seed, std::uint32_t network) {
  PackedMlp& net = *net_[active_];
  net.layout().pack(stack_, initial_parameters(stack_, spec_, seed, network), net.network(0));
  for (int e = 0; e < stack_; ++e) net.refresh(e);
}

/// A layer of the present weights with all its outputs and no activation.
cpu::PackedLayer FusedMlp::linear(int index, std::size_t l) const {
  cpu::PackedLayer layer = net_[active_]->layer(index, l);
  layer.out = spec_.layers[l].width;
  layer.activation = Activation::none;
  return layer;
}

const float* FusedMlp::forward(int index, const TrainBlock& input, TrainScratch& s) const {
  const auto& kernels = cpu::kernels();
  const std::size_t layers = spec_.layers.size();
  s.z.resize(layers);
  s.n.resize(layers);
  s.h.resize(layers);
  const float* h = input.data.data();
  for (std::size_t l = 0; l < layers; ++l) {
    const int width = spec_.layers[l].width;
    const std::size_t size = group_rows(width) * input.lanes;
    grow(s.z[l], size);
    kernels.dense(linear(index, l), h, input.lanes, s.z[l].data(), input.lanes, input.lanes);
    if (l + 1 == layers) break;
    const float* sums = s.z[l].data();
    if (spec_.layers[l].normalise) {
      grow(s.n[l], size);
      cpu::NormLayer norm = net_[active_]->norm(index, l);
      norm.activation = Activation::none;  // the backward pass needs what comes before it
      kernels.layer_norm(norm, sums, s.n[l].data(), input.lanes, input.lanes);
      sums = s.n[l].data();
    }
    grow(s.h[l], size);
    kernels.silu(sums, s.h[l].data(), static_cast<std::int64_t>(width) * input.lanes);
    h = s.h[l].data();
  }
  return s.z.back().data();
}

float* FusedMlp::output_gradient(const TrainBlock& input, TrainScratch& s) const {
  std::size_t rows = group_rows(spec_.inputs);
  for (const LayerSpec& layer : spec_.layers) rows = std::max(rows, group_rows(layer.width));
  for (auto* block : {&s.dz, &s.dh, &s.turned}) grow(*block, rows * input.lanes);
  std::fill_n(s.dz.begin(), group_rows(spec_.outputs()) * input.lanes, 0.0f);
  return s.dz.data();
}

void FusedMlp::backward(int index, const TrainBlock& input, TrainScratch& s, bool descend,
                        bool input_gradient) const {
  const auto& kernels = cpu::kernels();
  const PackedLayout& layout = net_[active_]->layout();
  const int lanes = input.lanes;
  for (std::size_t l = layout.layers().size(); l-- > 0;) {
    const PackedLayout::Layer& layer = layout.layers()[l];
    // before the weights move: they may do so in place
    if (l > 0 || input_gradient)
      kernels.dense_transposed(linear(index, l), s.dz.data(), s.dh.data(), lanes, lanes);
    if (descend) {
      const int rows = static_cast<int>(group_rows(layer.out));
      kernels.transpose(s.dz.data(), rows, lanes, s.turned.data(), rows, lanes);
      const std::size_t at = index * layout.floats() + layer.weight;
      PackedMlp& next = *net_[copies_ - 1 - active_];
      kernels.descend({layer.in, layer.out, lanes, l > 0 ? s.h[l - 1].data() : input.data.data(),
                       s.turned.data(), net_[active_]->network(0) + at, next.network(0) + at,
                       mean_.data() + at, variance_.data() + at,
                       hd::adam_step(learning_rate_, steps_)});
    }
    if (l == 0) break;
    const std::size_t used = static_cast<std::size_t>(layer.in) * lanes;
    const bool normalised = spec_.layers[l - 1].normalise;
    kernels.silu_backward((normalised ? s.n : s.z)[l - 1].data(), s.dh.data(),
                          static_cast<std::int64_t>(used));
    if (normalised) norm_backward(index, l - 1, lanes, s, descend);
    std::fill(s.dh.begin() + static_cast<std::ptrdiff_t>(used),
              s.dh.begin() + static_cast<std::ptrdiff_t>(group_rows(layer.in) * lanes), 0.0f);
    std::swap(s.dz, s.dh);
  }
}

/// From dL/dn of layer l, in dh, to dL/dz.
void FusedMlp::norm_backward(int index, std::size_t l, int lanes, TrainScratch& s,
                             bool descend) const {
  const PackedLayout& layout = net_[active_]->layout();
  const PackedLayout::Layer& layer = layout.layers()[l];
  grow(s.norm, 2 * group_rows(layer.out));
  const std::size_t at = index * layout.floats() + layer.norm;
  const float* now = net_[active_]->network(0) + at;
  float* next = descend ? net_[copies_ - 1 - active_]->network(0) + at : nullptr;
  cpu::kernels().layer_norm_backward(
      {layer.out, lanes, s.z[l].data(), s.dh.data(), now, s.norm.data(), now, next,
       mean_.data() + at, variance_.data() + at, hd::adam_step(learning_rate_, steps_)});
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

void FusedMlp::publish(const NetNormalisation& normalisation) {
  active_ = copies_ - 1 - active_;
  net_[active_]->set_normalisation(normalisation);
}

void FusedMlp::follow(const FusedMlp& online, double tau) {
  const std::size_t count = net_[active_]->layout().floats() * stack_;
  const float* from = online.net_[online.active_]->network(0);
  float* to = net_[active_]->network(0);
  for (std::size_t i = 0; i < count; ++i)
    to[i] = hd::polyak(to[i], from[i], static_cast<float>(tau));
}

NetWeights FusedMlp::weights(const NetNormalisation& normalisation) const {
  const PackedMlp& net = *net_[active_];
  return {stack_, spec_, net.layout().unpack(stack_, net.network(0)), normalisation};
}

void FusedMlp::save_parameters(TensorFile& file, const std::string& name) const {
  const PackedMlp& net = *net_[active_];
  put(file, name, net.layout().unpack(stack_, net.network(0)));
}

void FusedMlp::load_parameters(const TensorFile& file, const std::string& name) {
  PackedMlp& net = *net_[active_];
  net.layout().pack(stack_, get<float>(file, name, spec_.parameters() * stack_), net.network(0));
  for (int e = 0; e < stack_; ++e) net.refresh(e);
}

void FusedMlp::save(TensorFile& file, const std::string& name) const {
  const PackedLayout& layout = net_[active_]->layout();
  save_parameters(file, name + ".parameters");
  put(file, name + ".adam_mean", layout.unpack(stack_, mean_.data()));
  put(file, name + ".adam_variance", layout.unpack(stack_, variance_.data()));
  put<std::int64_t>(file, name + ".adam_count", {steps_});
}

void FusedMlp::load(const TensorFile& file, const std::string& name) {
  const PackedLayout& layout = net_[active_]->layout();
  const std::size_t count = spec_.parameters() * stack_;
  load_parameters(file, name + ".parameters");
  layout.pack(stack_, get<float>(file, name + ".adam_mean", count), mean_.data());
  layout.pack(stack_, get<float>(file, name + ".adam_variance", count), variance_.data());
  steps_ = get<std::int64_t>(file, name + ".adam_count", 1)[0];
}

}  // namespace softmpc
