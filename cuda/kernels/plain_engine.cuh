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
    for (int l = 0; l < shape.layers; ++l) {
      columns<Index::kSame>(net, shape, l, index, out);
      sync_block();
      if (shape.norm_units > 0) normalise(net, shape, l, index);
      float* swap = from_;
      from_ = to_;
      to_ = swap;
    }
    const int last = shape.layers, columns_of_last = shape.outputs(last);
    if (columns_of_last * slots <= kThreads) {
      // few outputs: a thread an output and slot, so that all warps go through the inputs
      const int n = thread() % columns_of_last, s = thread() / columns_of_last;
      if (s < slots) column<1, true>(net, shape, last, n, index(s), s, 0, slots, out);
    } else {
      columns<Index::kSame>(net, shape, last, index, out);
    }
    sync_block();
    // nobody reads what is swapped here, but without it ptxas keeps a pointer in local memory
    float* swap = from_;
    from_ = to_;
    to_ = swap;
  }

 private:
  /// All outputs of layer l, a thread an output and all slots.
  template <bool same, class Index, class Out>
  SOFTMPC_DEVICE void columns(const DeviceNet& net, const PlainShape& shape, int l,
                              const Index& index, const Out& out) {
    for (int n = thread(); n < shape.outputs(l); n += kThreads) {
      for (int first = 0; first < slots;) {
        const int network = index(first);
        int end = first + 1;
        while (end < slots && (same || index(end) == network)) ++end;
        column<slots, same>(net, shape, l, n, network, 0, first, end, out);
        first = end;
      }
    }
  }

  struct alignas(16) Values4 {
    float v[4];
  };

  /// Output n of layer l for those slots of [base, base + count) that are in [first, end); they
  /// share a network. `all`: none is outside.
  template <int count, bool all, class Out>
  SOFTMPC_DEVICE void column(const DeviceNet& net, const PlainShape& shape, int l, int n,
                             int network, int base, int first, int end, const Out& out) {
    const float* parameters = reinterpret_cast<const float*>(net.weights) +
                              static_cast<std::size_t>(network) * shape.weights();
    const float* weights = parameters + shape.first_weight(l) + n;
    const float* values = from_ + base * stride_;
    const int inputs = shape.inputs(l), outputs = shape.outputs(l);
    const auto counts = [&](int s) { return all || (base + s >= first && base + s < end); };
    float sum[count] = {};
    // weights come from L2: as many are on their way as there are registers for
    constexpr int kAhead = 8;
    int k = 0;
    for (; k + kAhead <= inputs; k += kAhead) {
      float w[kAhead];
      SOFTMPC_UNROLL
      for (int i = 0; i < kAhead; ++i) w[i] = weights[static_cast<std::size_t>(k + i) * outputs];
      SOFTMPC_UNROLL
      for (int i = 0; i < kAhead; i += 4) {
        SOFTMPC_UNROLL
        for (int s = 0; s < count; ++s) {
          const Values4 x = *reinterpret_cast<const Values4*>(values + s * stride_ + k + i);
          if (!counts(s)) continue;
          SOFTMPC_UNROLL
          for (int j = 0; j < 4; ++j) sum[s] = hd::fma(w[i + j], x.v[j], sum[s]);
        }
      }
    }
    for (; k < inputs; ++k) {
      const float w = weights[static_cast<std::size_t>(k) * outputs];
      SOFTMPC_UNROLL
      for (int s = 0; s < count; ++s)
        if (counts(s)) sum[s] = hd::fma(w, values[s * stride_ + k], sum[s]);
    }
    const float bias =
        net.bias[static_cast<std::size_t>(network) * shape.biases() + shape.first_bias(l) + n];
    SOFTMPC_UNROLL
    for (int s = 0; s < count; ++s) {
      if (!counts(s)) continue;
      const float z = sum[s] + bias;
      if (l < shape.layers)
        to_[(base + s) * stride_ + n] = shape.norm_units > 0 ? z : hd::silu(z);
      else if (n < shape.out)
        out(base + s, n, net.output_mean[n] + net.output_std[n] * z);
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
