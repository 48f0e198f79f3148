// SPDX-License-Identifier: Apache-2.0
// Float32 parameters to the order and the numbers that kernels read (layout.h).
#pragma once

#include "intrinsics.h"
#include "job.h"
#include "layout.h"
#include "mma_engine.cuh"
#include "numbers.h"
#include "parameter_table.h"

namespace softmpc::cuda {

class Packing {
 public:
  SOFTMPC_DEVICE explicit Packing(const PackJob& job) : job_(job) {}

  // Threads of all blocks go through the words and biases of all networks.
  template <Number number>
  SOFTMPC_DEVICE void pack() const {
    const NetShape shape = {job_.in,
                            job_.width,
                            job_.layers,
                            job_.planned,
                            static_cast<Operands>(job_.operands),
                            static_cast<WeightOrder>(job_.order),
                            job_.norm_units};
    const std::int64_t step = static_cast<std::int64_t>(blocks()) * threads();
    const std::int64_t first = static_cast<std::int64_t>(block()) * threads() + thread();
    for (std::int64_t i = first; i < static_cast<std::int64_t>(job_.stack) * shape.words();
         i += step)
      job_.words[i] =
          word<number>(shape, network(i, shape.words()), static_cast<int>(i % shape.words()));
    pack_bias(shape, first, step);
  }

  SOFTMPC_DEVICE void pack_plain() const {
    const PlainShape shape = {job_.in, job_.width, job_.layers, job_.planned, job_.norm_units};
    const std::int64_t step = static_cast<std::int64_t>(blocks()) * threads();
    const std::int64_t first = static_cast<std::int64_t>(block()) * threads() + thread();
    float* to = reinterpret_cast<float*>(job_.words);
    for (std::int64_t i = first; i < static_cast<std::int64_t>(job_.stack) * shape.weights();
         i += step) {
      const int within = static_cast<int>(i % shape.weights());
      int l = job_.layers;
      while (within < shape.first_weight(l)) --l;
      const int index = within - shape.first_weight(l);
      to[i] = weight(network(i, shape.weights()), l, index % shape.outputs(l),
                     index / shape.outputs(l));
    }
    pack_bias(shape, first, step);
  }

 private:
  SOFTMPC_DEVICE const float* network(std::int64_t i, int size) const {
    return job_.parameters + i / size * job_.table.size;
  }

  /// Weight from input k to output n of layer l, 0 in the padding.
  SOFTMPC_DEVICE float weight(const float* network, int l, int n, int k) const {
    const int inputs = l == 0 ? job_.in : job_.hidden;
    const int outputs = l == job_.layers ? job_.planned : job_.hidden;
    if (n >= outputs || k < 0 || k >= inputs) return 0.0f;
    return network[job_.table.weight[l] + n * inputs + k];
  }

  template <Number number>
  SOFTMPC_DEVICE std::uint32_t word(const NetShape& shape, const float* network, int within) const {
    int l = shape.layers;
    while (within < shape.first_word(l)) --l;
    float w[2];
    int part = 0;  // of both halves: a word lies within a step of 16, a step within a part
    for (int half = 0; half < 2; ++half) {
      const PackedPlace at = packed_place(shape, l, within - shape.first_word(l), half);
      w[half] = weight(network, l, at.n, at.k);
      part = at.part;
    }
    const std::uint32_t rounded = pack_pair<number>(w[0], w[1]);
    return part == 0 ? rounded : pack_rest<number>(rounded, w[0], w[1]);
  }

  template <class Shape>
  SOFTMPC_DEVICE void pack_bias(const Shape& shape, std::int64_t first, std::int64_t step) const {
    for (std::int64_t i = first; i < static_cast<std::int64_t>(job_.stack) * shape.biases();
         i += step) {
      const int within = static_cast<int>(i % shape.biases()), norm = within - shape.first_scale(0);
      const float* from = network(i, shape.biases());
      job_.bias[i] = norm < 0 ? bias(shape, from, within) : norm_parameter(from, norm);
    }
  }

  template <class Shape>
  SOFTMPC_DEVICE float bias(const Shape& shape, const float* network, int within) const {
    int l = shape.layers;
    while (within < shape.first_bias(l)) --l;
    const int n = within - shape.first_bias(l);
    const bool real = n < (l == job_.layers ? job_.planned : job_.hidden);
    return real ? network[job_.table.bias[l] + n] : 0.0f;
  }

  /// Scale or shift: entry `within` of the layers' LayerNorm, 0 in the padding.
  SOFTMPC_DEVICE float norm_parameter(const float* network, int within) const {
    const int l = within / (2 * job_.width), n = within % job_.width;
    const bool shift = within / job_.width % 2 == 1;
    if (n >= job_.hidden) return 0.0f;
    return network[(shift ? job_.table.norm_shift : job_.table.norm_scale)[l] + n];
  }

  const PackJob& job_;
};

template <Number number>
SOFTMPC_KERNEL void pack_weights(const PackJob& job) {
  if constexpr (number == Number::f32)
    Packing(job).pack_plain();
  else
    Packing(job).template pack<number>();
}

}  // namespace softmpc::cuda
