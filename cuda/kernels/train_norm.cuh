// SPDX-License-Identifier: Apache-2.0
// LayerNorm of one hidden layer of a training step, between the launches of train_layer.cuh: its
// sums go over all units, whose blocks are several there. A block has a chunk of the batch of one
// network, a lane a row, a warp every eighth unit.
#pragma once

#include "intrinsics.h"
#include "softmpc/hd/layer_norm.h"
#include "softmpc/hd/math.h"
#include "train_job.h"
#include "train_memory.h"
#include "train_tile.cuh"

namespace softmpc::cuda {

/// The rows of one chunk, in a layer of one network.
class LayerNormRows {
 public:
  static_assert(kTrainRows == 32, "a lane a row");

  SOFTMPC_DEVICE LayerNormRows(const TrainStack& stack, int layer, int index)
      : s(stack),
        scratch(reinterpret_cast<TrainMemory*>(shared_memory())->partial),
        l(layer),
        chunk(index % stack.chunks()),
        network(index / stack.chunks()),
        rows(stack.block_of(layer, network) + chunk * kTrainRows + lane()),
        scale(stack.parameters + stack.base(network) + stack.table.norm_scale[layer]),
        shift(stack.parameters + stack.base(network) + stack.table.norm_shift[layer]) {}

  // z = c, h = silu(g c + s)
  SOFTMPC_DEVICE void forward() {
    const float mean = mean_of([&](int u) { return s.z[at(u)]; });
    const float variance = mean_of([&](int u) {
      const float from_mean = s.z[at(u)] - mean;
      return from_mean * from_mean;
    });
    const float r = hd::layer_norm_rate(variance);
    each_unit([&](int u) {
      const float c = (s.z[at(u)] - mean) * r;
      s.z[at(u)] = c;
      s.h[at(u)] = hd::silu(hd::layer_norm(c, scale[u], shift[u]));
    });
    if (warp() == 0) rate() = r;
  }

  // from dL/dh in dz to dL/dz; the chunk's part of the gradients of scale and shift
  SOFTMPC_DEVICE void backward() {
    float* const of_scale = s.norm_sums + s.norm_sums_of(network, chunk);
    each_unit([&](int u) {
      const float c = s.z[at(u)];
      const float dn = s.dz[at(u)] * hd::silu_derivative(hd::layer_norm(c, scale[u], shift[u]));
      s.dz[at(u)] = dn;
      const float by_scale = sum_rows_of_warp(dn * c), by_shift = sum_rows_of_warp(dn);
      if (lane() > 0) return;
      of_scale[u] = by_scale;
      of_scale[s.width + u] = by_shift;
    });
    const float mean_d = mean_of([&](int u) { return scale[u] * s.dz[at(u)]; });
    const float mean_dc = mean_of([&](int u) { return scale[u] * s.dz[at(u)] * s.z[at(u)]; });
    const float r = rate();
    each_unit([&](int u) {
      s.dz[at(u)] = hd::layer_norm_backward(scale[u] * s.dz[at(u)], s.z[at(u)], r, mean_d, mean_dc);
    });
  }

 private:
  const TrainStack& s;
  float* const scratch;  // [warps, rows]
  const int l, chunk, network;
  const std::size_t rows;  // where the thread's row of the layer lies
  const float *const scale, *const shift;

  SOFTMPC_DEVICE std::size_t at(int unit) const {
    return rows + static_cast<std::size_t>(unit) * s.stride;
  }
  SOFTMPC_DEVICE float& rate() const {
    return s.rate[s.rates_of(l, network) + chunk * kTrainRows + lane()];
  }

  template <class F>
  SOFTMPC_DEVICE void each_unit(const F& f) const {
#pragma unroll 4
    for (int u = warp(); u < s.width; u += kTrainWarps) f(u);
  }

  /// Mean of f(unit) over the units of the thread's row.
  template <class F>
  SOFTMPC_DEVICE float mean_of(const F& f) const {
    float sum = 0;
    each_unit([&](int u) { sum += f(u); });
    sync_block();  // the sums before have been read
    scratch[warp() * kTrainRows + lane()] = sum;
    sync_block();
    float total = scratch[lane()];
#pragma unroll
    for (int w = 1; w < kTrainWarps; ++w) total += scratch[w * kTrainRows + lane()];
    return total / static_cast<float>(s.width);
  }

  SOFTMPC_DEVICE static float sum_rows_of_warp(float value) {
#pragma unroll
    for (int mask = 16; mask > 0; mask /= 2) value += shuffle_xor(value, mask);
    return value;
  }
};

SOFTMPC_KERNEL void train_norm_forward(const TrainJob& job) {
  const int which = stack_of_block(job);
  LayerNormRows(job.stack[which], job.layer[which], block() - job.first_block[which]).forward();
}

SOFTMPC_KERNEL void train_norm_backward(const TrainJob& job) {
  const int which = stack_of_block(job);
  LayerNormRows(job.stack[which], job.layer[which], block() - job.first_block[which]).backward();
}

}  // namespace softmpc::cuda
