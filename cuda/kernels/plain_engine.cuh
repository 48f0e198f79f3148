// SPDX-License-Identifier: Apache-2.0
// Evaluates networks in float32 without tensor cores: any width, results of the CPU planner within
// rounding of the order of sums. A thread owns outputs and goes through all slots of the tile.
#pragma once

#include "engine_bytes.h"
#include "intrinsics.h"
#include "job.h"
#include "layout.h"
#include "network_index.cuh"
#include "softmpc/hd/layer_norm.h"
#include "softmpc/hd/math.h"

namespace softmpc::cuda {

template <int slots>
class PlainEngine {
 public:
  static constexpr int kThreads = 256;
  static constexpr WeightOrder kOrder = WeightOrder::fragments;
  static constexpr int kGroup = 1;  // each slot has its network
  static constexpr int kGroups = slots;

  /// `widest`: the most inputs or hidden units of a net.
  SOFTMPC_DEVICE PlainEngine(char* shared, int widest, int = 0)
      : stride_(plain_engine_stride(widest)),
        from_(reinterpret_cast<float*>(shared)),
        to_(from_ + slots * stride_) {}

  SOFTMPC_DEVICE static int tile() { return block(); }
  SOFTMPC_DEVICE static int index() { return thread(); }
  SOFTMPC_DEVICE static void sync() { sync_block(); }
  SOFTMPC_DEVICE static bool writes() { return true; }
  template <int width>
  SOFTMPC_DEVICE void prefetch(const DeviceNet&, const NetShape&, int) {}

  /// As MmaEngine::evaluate; `width` serves the order of the template arguments only.
  template <int width, class Index, class In, class Out>
  SOFTMPC_DEVICE void evaluate(const DeviceNet& net, const NetShape& packed, const Index& index,
                               const In& in, const Out& out) {
    const PlainShape shape = {packed.in, packed.width, packed.layers, packed.out,
                              packed.norm_units};
    for (int i = thread(); i < slots * shape.in; i += kThreads) {
      const int slot = i / shape.in, c = i % shape.in;
      from_[slot * stride_ + c] = (in(slot, c) - net.input_mean[c]) * net.input_scale[c];
    }
    sync_block();
    for (int l = 0; l <= shape.layers; ++l) {
      for (int n = thread(); n < shape.outputs(l); n += kThreads) {
        for (int first = 0; first < slots;) {
          const int network = index(first);
          int end = first + 1;
          while (end < slots && (Index::kSame || index(end) == network)) ++end;
          column<Index::kSame>(net, shape, l, n, network, first, end, out);
          first = end;
        }
      }
      sync_block();
      if (shape.norm_units > 0 && l < shape.layers) normalise(net, shape, l, index);
      float* swap = from_;
      from_ = to_;
      to_ = swap;
    }
  }

 private:
  /// Output n of layer l for slots [first, end), which share a network.
  template <bool all, class Out>
  SOFTMPC_DEVICE void column(const DeviceNet& net, const PlainShape& shape, int l, int n,
                             int network, int first, int end, const Out& out) {
    const float* parameters = reinterpret_cast<const float*>(net.weights) +
                              static_cast<std::size_t>(network) * shape.weights();
    const float* weights = parameters + shape.first_weight(l) + n;
    const int inputs = shape.inputs(l), outputs = shape.outputs(l);
    float sum[slots] = {};
    for (int k = 0; k < inputs; ++k) {
      const float w = weights[static_cast<std::size_t>(k) * outputs];
      SOFTMPC_UNROLL
      for (int s = 0; s < slots; ++s)
        if (all || (s >= first && s < end)) sum[s] = hd::fma(w, from_[s * stride_ + k], sum[s]);
    }
    const float bias =
        net.bias[static_cast<std::size_t>(network) * shape.biases() + shape.first_bias(l) + n];
    SOFTMPC_UNROLL
    for (int s = 0; s < slots; ++s) {
      if (!all && (s < first || s >= end)) continue;
      const float z = sum[s] + bias;
      if (l < shape.layers)
        to_[s * stride_ + n] = shape.norm_units > 0 ? z : hd::silu(z);
      else if (n < shape.out)
        out(s, n, net.output_mean[n] + net.output_std[n] * z);
    }
  }

  /// h = silu(g c + s) of the sums z of layer l, a warp a slot. Units of the padding stay 0.
  template <class Index>
  SOFTMPC_DEVICE void normalise(const DeviceNet& net, const PlainShape& shape, int l,
                                const Index& index) {
    const int units = shape.norm_units;
    const float share = 1.0f / static_cast<float>(units);
    for (int slot = warp(); slot < slots; slot += kThreads / 32) {
      float* z = to_ + slot * stride_;
      const float* parameters = net.bias + static_cast<std::size_t>(index(slot)) * shape.biases();
      const float *scale = parameters + shape.first_scale(l), *shift = scale + shape.width;
      const float mean = share * sum_units(units, [&](int u) { return z[u]; });
      const float rate = hd::layer_norm_rate(
          share * sum_units(units, [&](int u) { return (z[u] - mean) * (z[u] - mean); }));
      for (int u = lane(); u < units; u += 32)
        z[u] = hd::silu(hd::layer_norm((z[u] - mean) * rate, scale[u], shift[u]));
    }
    sync_block();
  }

  /// Sum of f(unit) over units, of a warp.
  template <class F>
  SOFTMPC_DEVICE static float sum_units(int units, const F& f) {
    float sum = 0;
    for (int u = lane(); u < units; u += 32) sum += f(u);
    SOFTMPC_UNROLL
    for (int mask = 16; mask > 0; mask /= 2) sum += shuffle_xor(sum, mask);
    return sum;
  }

  int stride_;
  float *from_, *to_;  // [slots, stride] inputs and outputs of a layer
};

}  // namespace softmpc::cuda
