// SPDX-License-Identifier: Apache-2.0
// LayerNorm of one hidden layer of a training step, between the launches of train_layer.cuh: its
// sums go over all units, whose blocks are several there. A block has a chunk of the batch of one
// network, a lane a row, a warp every eighth unit.
#pragma once

#include "intrinsics.h"
#include "norm_rows.cuh"
#include "train_job.h"
#include "train_tile.cuh"

namespace softmpc::cuda {

/// The rows of one chunk, in a layer of one network.
class LayerNormRows {
 public:
  SOFTMPC_DEVICE LayerNormRows(const TrainStack& stack, int layer, int index)
      : s(stack),
        l(layer),
        chunk(index % stack.chunks()),
        network(index / stack.chunks()),
        rows(stack.block_of(layer, network) + chunk * kTrainRows + lane()),
        norm(stack.z + rows, stack.stride, stack.width,
             stack.parameters + stack.base(network) + stack.table.norm_scale[layer],
             stack.parameters + stack.base(network) + stack.table.norm_shift[layer]) {}

  // z = c, h = silu(g c + s)
  SOFTMPC_DEVICE void forward() {
    const float r = norm.forward(
        [&](int u, float n) { s.h[rows + static_cast<std::size_t>(u) * s.stride] = hd::silu(n); });
    if (warp() == 0) rate() = r;
  }

  // from dL/dh in dz to dL/dz; the chunk's part of the gradients of scale and shift
  SOFTMPC_DEVICE void backward() {
    float* const of_scale = s.norm_sums + s.norm_sums_of(network, chunk);
    norm.backward(s.dz + rows, rate(), [&](int u, float c, float dn) {
      const float by_scale = sum_rows_of_warp(dn * c), by_shift = sum_rows_of_warp(dn);
      if (lane() > 0) return;
      of_scale[u] = by_scale;
      of_scale[s.width + u] = by_shift;
    });
  }

 private:
  const TrainStack& s;
  const int l, chunk, network;
  const std::size_t rows;  // where the thread's row of the layer lies
  const NormRows norm;

  SOFTMPC_DEVICE float& rate() const {
    return s.rate[s.rates_of(l, network) + chunk * kTrainRows + lane()];
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
