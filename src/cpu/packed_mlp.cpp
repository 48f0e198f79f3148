// SPDX-License-Identifier: Apache-2.0
#include "cpu/packed_mlp.h"

#include <algorithm>

#include "onednn/onednn_mlp.h"
#include "softmpc/error.h"
#include "softmpc/hd/bf16.h"

namespace softmpc {
namespace {

bool all_equal(const std::vector<float>& values, float to) {
  return std::all_of(values.begin(), values.end(), [to](float v) { return v == to; });
}

std::vector<int> hidden_widths(const NetSpec& spec) {
  std::vector<int> widths;
  for (int l = 0; l + 1 < spec.depth(); ++l) widths.push_back(spec.layers[l].width);
  return widths;
}

}  // namespace

PackedMlp::PackedMlp(const NetWeights& weights, Activation output_activation, int outputs,
                     Precision precision)
    : stack_(weights.stack),
      outputs_(outputs > 0 ? outputs : weights.outputs()),
      spec_(weights.spec),
      output_activation_(output_activation),
      precision_(precision),
      layout_(weights.spec) {
  parameters_.resize(layout_.floats() * stack_);
  widest_ = cpu::pad_rows(spec_.inputs);
  for (const LayerSpec& layer : spec_.layers)
    widest_ = std::max(widest_, cpu::pad_rows(layer.width));
  if (precision_ == Precision::bfloat16 && layout_.layers().size() > 2) {  // else nothing to round
    if (cpu::through_onednn() && !spec_.normalises())
      onednn_ = std::make_unique<OneDnnMlp>(stack_, hidden_widths(spec_));
    else
      pairs_.resize(layout_.pairs() * stack_);
  }
  update(weights);
}

PackedMlp::~PackedMlp() = default;

void PackedMlp::update(const NetWeights& weights) {
  if (weights.stack != stack_ || weights.spec != spec_)
    throw Error("network update: the shape differs from the network's own");
  weights.validate_shape("network update");
  layout_.pack(stack_, weights.parameters, parameters_.data());
  // an activation of the outputs acts on the normalised ones: scale and shift join the last layer
  if (output_activation_ != Activation::none)
    for (int e = 0; e < stack_; ++e) fold_outputs(network(e), weights.normalisation);
  for (int e = 0; e < stack_; ++e) refresh(e);
  set_normalisation(weights.normalisation);
}

void PackedMlp::fold_outputs(float* net, const NetNormalisation& normalisation) const {
  const PackedLayout::Layer& layer = layout_.layers().back();
  for (int o = 0; o < layer.out; ++o) {
    const float scale = normalisation.output_std[o];
    float* weight = net + layer.weight +
                    static_cast<std::size_t>(o / cpu::kGroup) * layer.in * cpu::kGroup +
                    o % cpu::kGroup;
    for (int i = 0; i < layer.in; ++i) weight[static_cast<std::size_t>(i) * cpu::kGroup] *= scale;
    net[layer.bias + o] = scale * net[layer.bias + o] + normalisation.output_mean[o];
  }
}

void PackedMlp::set_normalisation(const NetNormalisation& normalisation) {
  input_mean_ = normalisation.input_mean;
  input_std_ = normalisation.input_std;
  input_scale_.resize(normalisation.input_std.size());
  for (std::size_t i = 0; i < input_scale_.size(); ++i)
    input_scale_[i] = 1 / normalisation.input_std[i];
  output_mean_ = normalisation.output_mean;
  output_std_ = normalisation.output_std;
  normalise_input_ = !all_equal(input_mean_, 0) || !all_equal(input_scale_, 1);
  normalise_output_ = output_activation_ == Activation::none &&
                      (!all_equal(output_mean_, 0) || !all_equal(output_std_, 1));
}

NetWeights PackedMlp::weights() const {
  NetWeights w = NetWeights::zeros(stack_, spec_);
  layout_.unpack(stack_, parameters_.data(), w.parameters);
  w.normalisation.input_mean = input_mean_;
  w.normalisation.input_std = input_std_;
  if (output_activation_ == Activation::none) {
    w.normalisation.output_mean = output_mean_;
    w.normalisation.output_std = output_std_;
  }
  return w;
}

void PackedMlp::refresh(int index) {
  const std::size_t last = layout_.layers().size() - 1;
  if (onednn_)
    for (std::size_t l = 1; l < last; ++l) onednn_->load(index, l - 1, layer(index, l));
  if (pairs_.empty()) return;
  const float* from = network(index);
  for (std::size_t l = 1; l < last; ++l) {
    const PackedLayout::Layer& layer = layout_.layers()[l];
    cpu::Bf16Pair* to = pairs_.data() + index * layout_.pairs() + layer.pairs;
    for (int g = 0; g < cpu::groups_of(layer.out); ++g) {
      const float* w = from + layer.weight + static_cast<std::size_t>(g) * layer.in * cpu::kGroup;
      // rows of kGroup outputs, one an input: the same as lanes
      cpu::kernels().to_bf16(w, layer.in, cpu::kGroup, to, cpu::kGroup, cpu::kGroup);
      to += static_cast<std::size_t>((layer.in + 1) / 2) * cpu::kGroup;
    }
  }
}

cpu::PackedLayer PackedMlp::layer(int index, std::size_t l) const {
  const PackedLayout::Layer& layer = layout_.layers()[l];
  const bool last = l + 1 == layout_.layers().size();
  // LayerNorm comes between the sums and the activation, in a pass of its own
  const Activation inner =
      spec_.layers[l].normalise ? Activation::none : spec_.layers[l].activation;
  return {network(index) + layer.weight,
          network(index) + layer.bias,
          pairs_.empty() ? nullptr : pairs_.data() + index * layout_.pairs() + layer.pairs,
          layer.in,
          last ? outputs_ : layer.out,
          last ? output_activation_ : inner};
}

std::size_t PackedMlp::scratch_floats(int lanes) const {
  // input or output, activations, sums of the first layer; sums of one run
  return 3 * static_cast<std::size_t>(widest_) * lanes + widest_ + cpu::kGroup;
}

void PackedMlp::normalise(float* x, int lanes) const {
  for (int i = 0; i < inputs(); ++i, x += lanes) {
    // a masked input (scale 0) must not turn an infinite observation into NaN
    if (input_scale_[i] == 0)
      std::fill(x, x + lanes, 0.0f);
    else
      for (int j = 0; j < lanes; ++j) x[j] = (x[j] - input_mean_[i]) * input_scale_[i];
  }
}

/// The first layer, with what the lanes of a run share summed up once; the bits are the same.
cpu::PackedLayer PackedMlp::first_layer(int index, const float* x, float* sums, int lanes,
                                        const SharedInputs& shared) const {
  constexpr std::size_t kWorthwhile = 8;  // lanes a run
  cpu::PackedLayer first = layer(index, 0);
  if (shared.runs.empty() || shared.runs.size() * kWorthwhile > static_cast<std::size_t>(lanes))
    return first;
  float* of_run = sums + static_cast<std::size_t>(widest_) * lanes;
  for (const LaneRun& run : shared.runs) {
    cpu::kernels().sum_inputs(first, shared.inputs, x + run.begin, lanes, of_run);
    for (int o = 0; o < cpu::pad_rows(first.out); ++o) {
      float* row = sums + static_cast<std::size_t>(o) * lanes;
      std::fill(row + run.begin, row + run.end, of_run[o]);
    }
  }
  first.sums = sums;
  first.summed = shared.inputs;
  return first;
}

cpu::NormLayer PackedMlp::norm(int index, std::size_t l) const {
  const PackedLayout::Layer& layer = layout_.layers()[l];
  const float* scale = network(index) + layer.norm;
  return {scale, scale + cpu::groups_of(layer.out) * cpu::kGroup, layer.out,
          spec_.layers[l].activation};
}

/// A layer with float32 operands and, where it has one, its LayerNorm.
void PackedMlp::dense(int index, std::size_t l, const cpu::PackedLayer& layer, const float* x,
                      float* y, int lanes) const {
  cpu::kernels().dense(layer, x, lanes, y, lanes, lanes);
  if (spec_.layers[l].normalise) cpu::kernels().layer_norm(norm(index, l), y, y, lanes, lanes);
}

const float* PackedMlp::run_float32(int index, const cpu::PackedLayer& first, float* x, float* y,
                                    int lanes) const {
  for (std::size_t l = 0; l < layout_.layers().size(); ++l) {
    dense(index, l, l == 0 ? first : layer(index, l), x, y, lanes);
    std::swap(x, y);
  }
  return x;
}

/// The products between hidden layers in bfloat16; what comes from the states and what goes to them
/// stays in float32: a tenth of the work, most of the error (tests/pipeline/precision_test.cpp).
const float* PackedMlp::run_bfloat16(int index, const cpu::PackedLayer& first, float* x, float* y,
                                     int lanes) const {
  const std::size_t last = layout_.layers().size() - 1;
  if (last < 2) return run_float32(index, first, x, y, lanes);
  if (spec_.normalises()) return run_normalised_bfloat16(index, first, x, y, lanes);
  const auto& kernels = cpu::kernels();
  if (onednn_) {
    kernels.dense(first, x, lanes, y, lanes, lanes);
    onednn_->run(index, y, x, lanes);
  } else {
    auto* in = reinterpret_cast<cpu::Bf16Pair*>(y);
    auto* out = in + static_cast<std::size_t>(widest_ / 2) * lanes;
    kernels.dense_to_bf16(first, x, lanes, in, lanes, lanes);
    for (std::size_t l = 1; l < last; ++l, std::swap(in, out))
      kernels.dense_bf16(layer(index, l), in, lanes, l + 1 == last ? x : nullptr, out, lanes,
                         lanes);
  }
  kernels.dense(layer(index, last), x, lanes, y, lanes, lanes);
  return y;
}

/// The same where LayerNorm needs the sums of whole layers before they are rounded.
const float* PackedMlp::run_normalised_bfloat16(int index, const cpu::PackedLayer& first, float* x,
                                                float* y, int lanes) const {
  const std::size_t last = layout_.layers().size() - 1;
  const auto& kernels = cpu::kernels();
  auto* pairs = reinterpret_cast<cpu::Bf16Pair*>(x);  // the input is read by then
  dense(index, 0, first, x, y, lanes);
  for (std::size_t l = 1; l < last; ++l) {
    kernels.to_bf16(y, layout_.layers()[l].in, lanes, pairs, lanes, lanes);
    kernels.dense_bf16(layer(index, l), pairs, lanes, y, nullptr, lanes, lanes);
    if (spec_.layers[l].normalise) kernels.layer_norm(norm(index, l), y, y, lanes, lanes);
  }
  dense(index, last, layer(index, last), y, x, lanes);
  return x;
}

const float* PackedMlp::run(int index, float* scratch, int lanes,
                            const SharedInputs& shared) const {
  const std::size_t size = static_cast<std::size_t>(widest_) * lanes;
  float* block = scratch + size;
  if (normalise_input_) normalise(scratch, lanes);
  const cpu::PackedLayer first = first_layer(index, scratch, block + size, lanes, shared);
  const bool narrow = precision_ == Precision::bfloat16;
  const float* result = narrow ? run_bfloat16(index, first, scratch, block, lanes)
                               : run_float32(index, first, scratch, block, lanes);
  if (!normalise_output_) return result;
  float* row = const_cast<float*>(result);  // inside scratch
  for (int o = 0; o < outputs_; ++o, row += lanes)
    for (int j = 0; j < lanes; ++j) row[j] = output_mean_[o] + output_std_[o] * row[j];
  return result;
}

}  // namespace softmpc
