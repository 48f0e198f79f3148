// SPDX-License-Identifier: Apache-2.0
#include "cpu/packed_mlp.h"

#include <algorithm>

#include "softmpc/error.h"

namespace softmpc {
namespace {

constexpr int whole_groups(int outputs) {
  return (outputs + cpu::kGroup - 1) / cpu::kGroup * cpu::kGroup;
}

bool all_equal(const std::vector<float>& values, float to) {
  return std::all_of(values.begin(), values.end(), [to](float v) { return v == to; });
}

}  // namespace

PackedMlp::PackedMlp(const MlpWeights& weights, cpu::Activation output_activation, int outputs)
    : stack_(weights.stack),
      outputs_(outputs > 0 ? outputs : weights.outputs()),
      sizes_(weights.sizes),
      output_activation_(output_activation) {
  widest_ = whole_groups(weights.inputs());
  for (int l = 0; l < weights.layers(); ++l) {
    Layer layer;
    layer.in = sizes_[l];
    layer.out = l + 1 == weights.layers() ? outputs_ : sizes_[l + 1];
    const int out = whole_groups(layer.out);
    layer.weight_size = static_cast<std::size_t>(out) * layer.in;
    layer.bias_size = static_cast<std::size_t>(out);
    layer.weight.resize(layer.weight_size * stack_);
    layer.bias.resize(layer.bias_size * stack_);
    widest_ = std::max(widest_, out);
    layers_.push_back(std::move(layer));
  }
  update(weights);
}

void PackedMlp::update(const MlpWeights& weights) {
  if (weights.stack != stack_ || weights.sizes != sizes_)
    throw Error("network update: the shape differs from the network's own");
  weights.validate_shape("network update");
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    Layer& layer = layers_[l];
    const int out = sizes_[l + 1];  // stored rows; layer.out of them are packed
    // an activation of the outputs acts on the normalised ones: scale and shift join the last layer
    const bool fold = l + 1 == layers_.size() && output_activation_ != cpu::Activation::none;
    for (int e = 0; e < stack_; ++e) {
      const float* from = weights.weight[l].data() + static_cast<std::size_t>(e) * out * layer.in;
      float* to = layer.weight.data() + e * layer.weight_size;
      for (int o = 0; o < layer.out; ++o) {
        float* group = to + static_cast<std::size_t>(o / cpu::kGroup) * layer.in * cpu::kGroup;
        const float scale = fold ? weights.output_std[o] : 1;
        const float shift = fold ? weights.output_mean[o] : 0;
        for (int i = 0; i < layer.in; ++i)
          group[i * cpu::kGroup + o % cpu::kGroup] =
              scale * from[static_cast<std::size_t>(o) * layer.in + i];
        layer.bias[e * layer.bias_size + o] =
            scale * weights.bias[l][static_cast<std::size_t>(e) * out + o] + shift;
      }
    }
  }
  input_mean_ = weights.input_mean;
  input_scale_.resize(weights.input_std.size());
  for (std::size_t i = 0; i < input_scale_.size(); ++i) input_scale_[i] = 1 / weights.input_std[i];
  output_mean_ = weights.output_mean;
  output_std_ = weights.output_std;
  normalise_input_ = !all_equal(input_mean_, 0) || !all_equal(input_scale_, 1);
  normalise_output_ = output_activation_ == cpu::Activation::none &&
                      (!all_equal(output_mean_, 0) || !all_equal(output_std_, 1));
}

std::size_t PackedMlp::scratch_floats(int lanes) const {
  return 2 * static_cast<std::size_t>(widest_) * lanes;
}

const float* PackedMlp::run(int index, float* scratch, int lanes) const {
  const auto& kernels = cpu::kernels();
  float* x = scratch;
  float* y = scratch + static_cast<std::size_t>(widest_) * lanes;
  if (normalise_input_)
    for (int i = 0; i < inputs(); ++i) {
      float* row = x + static_cast<std::size_t>(i) * lanes;
      // a masked input (scale 0) must not turn an infinite observation into NaN
      if (input_scale_[i] == 0)
        std::fill(row, row + lanes, 0.0f);
      else
        for (int j = 0; j < lanes; ++j) row[j] = (row[j] - input_mean_[i]) * input_scale_[i];
    }
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    const Layer& layer = layers_[l];
    const bool last = l + 1 == layers_.size();
    const cpu::PackedLayer packed = {layer.weight.data() + index * layer.weight_size,
                                     layer.bias.data() + index * layer.bias_size, layer.in,
                                     layer.out, last ? output_activation_ : cpu::Activation::silu};
    kernels.dense(packed, x, lanes, y, lanes, lanes);
    std::swap(x, y);
  }
  if (normalise_output_)
    for (int o = 0; o < outputs_; ++o) {
      float* row = x + static_cast<std::size_t>(o) * lanes;
      for (int j = 0; j < lanes; ++j) row[j] = output_mean_[o] + output_std_[o] * row[j];
    }
  return x;
}

}  // namespace softmpc
