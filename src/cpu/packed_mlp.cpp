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

}  // namespace

PackedShape::PackedShape(const std::vector<int>& sizes) {
  for (std::size_t l = 1; l < sizes.size(); ++l) {
    const std::size_t in = sizes[l - 1], rows = cpu::groups_of(sizes[l]) * cpu::kGroup;
    layers.push_back({sizes[l - 1], sizes[l], floats, floats + rows * in, pairs});
    floats += rows * (in + 1);
    pairs += rows * ((in + 1) / 2);
  }
}

PackedMlp::PackedMlp(const MlpWeights& weights, cpu::Activation output_activation, int outputs,
                     Precision precision)
    : stack_(weights.stack),
      outputs_(outputs > 0 ? outputs : weights.outputs()),
      sizes_(weights.sizes),
      output_activation_(output_activation),
      precision_(precision),
      shape_(weights.sizes) {
  parameters_.resize(shape_.floats * stack_);
  for (int size : sizes_) widest_ = std::max(widest_, cpu::pad_rows(size));
  if (precision_ == Precision::bfloat16 && shape_.layers.size() > 2) {  // else nothing to round
    if (cpu::through_onednn())
      onednn_ = std::make_unique<OneDnnMlp>(stack_,
                                            std::vector<int>(sizes_.begin() + 1, sizes_.end() - 1));
    else
      pairs_.resize(shape_.pairs * stack_);
  }
  update(weights);
}

PackedMlp::~PackedMlp() = default;

void PackedMlp::update(const MlpWeights& weights) {
  if (weights.stack != stack_ || weights.sizes != sizes_)
    throw Error("network update: the shape differs from the network's own");
  weights.validate_shape("network update");
  for (std::size_t l = 0; l < shape_.layers.size(); ++l) {
    const PackedShape::Layer& layer = shape_.layers[l];
    // an activation of the outputs acts on the normalised ones: scale and shift join the last layer
    const bool fold = l + 1 == shape_.layers.size() && output_activation_ != cpu::Activation::none;
    for (int e = 0; e < stack_; ++e) {
      const std::size_t first = static_cast<std::size_t>(e) * layer.out;
      const float* from = weights.weight[l].data() + first * layer.in;
      float* to = network(e);
      for (int o = 0; o < layer.out; ++o) {
        const float scale = fold ? weights.output_std[o] : 1;
        const float shift = fold ? weights.output_mean[o] : 0;
        for (int i = 0; i < layer.in; ++i) to[PackedShape::at(layer, o, i)] = scale * *from++;
        to[layer.bias + o] = scale * weights.bias[l][first + o] + shift;
      }
    }
  }
  for (int e = 0; e < stack_; ++e) refresh(e);
  set_normalisation(weights);
}

void PackedMlp::set_normalisation(const MlpWeights& weights) {
  input_mean_ = weights.input_mean;
  input_std_ = weights.input_std;
  input_scale_.resize(weights.input_std.size());
  for (std::size_t i = 0; i < input_scale_.size(); ++i) input_scale_[i] = 1 / weights.input_std[i];
  output_mean_ = weights.output_mean;
  output_std_ = weights.output_std;
  normalise_input_ = !all_equal(input_mean_, 0) || !all_equal(input_scale_, 1);
  normalise_output_ = output_activation_ == cpu::Activation::none &&
                      (!all_equal(output_mean_, 0) || !all_equal(output_std_, 1));
}

MlpWeights PackedMlp::weights() const {
  MlpWeights w = MlpWeights::zeros(stack_, sizes_);
  read(w);
  w.input_mean = input_mean_;
  w.input_std = input_std_;
  w.output_mean = output_mean_;
  w.output_std = output_std_;
  return w;
}

void PackedMlp::read(MlpWeights& weights) const {
  for (std::size_t l = 0; l < shape_.layers.size(); ++l) {
    const PackedShape::Layer& layer = shape_.layers[l];
    for (int e = 0; e < stack_; ++e) {
      const std::size_t first = static_cast<std::size_t>(e) * layer.out;
      const float* from = network(e);
      for (int o = 0; o < layer.out; ++o) {
        for (int i = 0; i < layer.in; ++i)
          weights.weight[l][(first + o) * layer.in + i] = from[PackedShape::at(layer, o, i)];
        weights.bias[l][first + o] = from[layer.bias + o];
      }
    }
  }
}

void PackedMlp::refresh(int index) {
  const std::size_t last = shape_.layers.size() - 1;
  if (onednn_)
    for (std::size_t l = 1; l < last; ++l) onednn_->load(index, l - 1, layer(index, l));
  if (pairs_.empty()) return;
  const float* from = network(index);
  for (std::size_t l = 1; l < last; ++l) {
    const PackedShape::Layer& layer = shape_.layers[l];
    cpu::Bf16Pair* to = pairs_.data() + index * shape_.pairs + layer.pairs;
    for (int g = 0; g < cpu::groups_of(layer.out); ++g) {
      const float* w = from + layer.weight + static_cast<std::size_t>(g) * layer.in * cpu::kGroup;
      // rows of kGroup outputs, one an input: the same as lanes
      cpu::kernels().to_bf16(w, layer.in, cpu::kGroup, to, cpu::kGroup, cpu::kGroup);
      to += static_cast<std::size_t>((layer.in + 1) / 2) * cpu::kGroup;
    }
  }
}

cpu::PackedLayer PackedMlp::layer(int index, std::size_t l) const {
  const PackedShape::Layer& layer = shape_.layers[l];
  const bool last = l + 1 == shape_.layers.size();
  return {network(index) + layer.weight,
          network(index) + layer.bias,
          pairs_.empty() ? nullptr : pairs_.data() + index * shape_.pairs + layer.pairs,
          layer.in,
          last ? outputs_ : layer.out,
          last ? output_activation_ : cpu::Activation::silu};
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

const float* PackedMlp::run_float32(int index, const cpu::PackedLayer& first, float* x, float* y,
                                    int lanes) const {
  for (std::size_t l = 0; l < shape_.layers.size(); ++l) {
    cpu::kernels().dense(l == 0 ? first : layer(index, l), x, lanes, y, lanes, lanes);
    std::swap(x, y);
  }
  return x;
}

/// The products between hidden layers in bfloat16; what comes from the states and what goes to them
/// stays in float32: a tenth of the work, most of the error (tests/pipeline/precision_test.cpp).
const float* PackedMlp::run_bfloat16(int index, const cpu::PackedLayer& first, float* x, float* y,
                                     int lanes) const {
  const std::size_t last = shape_.layers.size() - 1;
  if (last < 2) return run_float32(index, first, x, y, lanes);
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
