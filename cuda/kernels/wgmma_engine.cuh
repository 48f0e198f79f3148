// SPDX-License-Identifier: Apache-2.0
// Evaluates networks at the highest rate: a warpgroup takes 64 rollouts, the block's two share the
// weights that a ring brings. Activations lie in shared memory as wgmma reads them; sums of a whole
// layer stay in registers. One network for all slots, in the order of the ring's program.
#pragma once

#include "intrinsics.h"
#include "intrinsics_wgmma.cuh"
#include "job.h"
#include "layout.h"
#include "mma_engine.cuh"
#include "network_index.cuh"
#include "numbers.h"
#include "weight_ring.cuh"

namespace softmpc::cuda {

template <int N, bool accumulate, Number number>
SOFTMPC_DEVICE void wgmma(float (&d)[N / 2], std::uint64_t a, std::uint64_t b) {
  if constexpr (number == Number::f16)
    wgmma_f16_shared<N, accumulate>(d, a, b);
  else
    wgmma_bf16_shared<N, accumulate>(d, a, b);
}

/// `outputs`: wgmma_outputs() of the nets, the most.
template <int outputs, Number number, class Ring>
class WgmmaEngine {
 public:
  static constexpr WeightOrder kOrder = WeightOrder::columns;
  static constexpr int kThreads = 128, kSlots = 64, kGroup = 64;

  /// `shared`: activations of the tile, wgmma_activation_bytes().
  SOFTMPC_DEVICE WgmmaEngine(char* shared, int, int, Ring* const& ring)
      : act_(shared), ring_(*ring) {}

  SOFTMPC_DEVICE static int group() { return warp() / 4; }
  SOFTMPC_DEVICE static int tile() { return kWgmmaTiles * block() + group(); }
  SOFTMPC_DEVICE static int index() { return thread() % kThreads; }
  SOFTMPC_DEVICE static void sync() { sync_some(1 + group(), kThreads); }
  SOFTMPC_DEVICE static bool writes() { return true; }
  template <int width>
  SOFTMPC_DEVICE void prefetch(const DeviceNet&, const NetShape&, int) {}

  /// As MmaEngine::evaluate, for the threads of the tile.
  template <int width, class Index, class In, class Out>
  SOFTMPC_DEVICE void evaluate(const DeviceNet& net, const NetShape& shape, const Index& one,
                               const In& in, const Out& out) {
    static_assert(width == 64 || width == 128 || width == 256, "columns of a wgmma");
    const float* bias = net.bias + static_cast<std::size_t>(one(0)) * shape.biases();
    stage(net, shape, in);
    hidden<width>(shape, 0, bias);  // apart: in a loop the size of its inputs is no constant
    SOFTMPC_KEEP_LOOP
    for (int l = 1; l + 1 < shape.layers; ++l) hidden<width>(shape, l, bias);
    if (shape.layers > 1) hidden<width>(shape, shape.layers - 1, bias);  // its outputs may be split
    last<outputs>(net, shape, bias, out);
    sync();
  }

 private:
  /// Where (slot, column of the layer's input, all parts) lies.
  SOFTMPC_DEVICE char* at(int slot, int column) {
    return act_ + wgmma_plain_byte(kSlots, slot, column);
  }
  SOFTMPC_DEVICE void put(int slot, int column, std::uint32_t pair) {
    *reinterpret_cast<std::uint32_t*>(at(slot, column)) = pair;
  }

  template <class In>
  SOFTMPC_DEVICE void stage(const DeviceNet& net, const NetShape& shape, const In& in) {
    const int size = shape.part_size(0), parts = shape.parts(0);
    for (int i = index(); i < kSlots * size / 2; i += kThreads) {
      const int slot = i % kSlots, column = i / kSlots * 2;
      float v[2];
      for (int j = 0; j < 2; ++j) {
        const int c = column + j;
        v[j] = c < shape.in ? (in(slot, c) - net.input_mean[c]) * net.input_scale[c] : 0.0f;
      }
      const std::uint32_t rounded = pack_pair<number>(v[0], v[1]);
      put(slot, column, rounded);
      put(slot, size + column, pack_rest<number>(rounded, v[0], v[1]));
    }
    // zero weights of a last half step must not meet NaN
    for (int i = index(); i < kSlots * 8; i += kThreads)
      if (32 * shape.k_steps(0) > parts * size) put(i % kSlots, parts * size + i / kSlots * 2, 0);
    fence_async();
    sync();
  }

  /// sum = the layer's products, through all its granules.
  template <int N>
  SOFTMPC_DEVICE void multiply(const NetShape& shape, int l, float (&sum)[N / 2]) {
    const int count = granules(shape, l), per = granule_steps(shape, l);
    for (int i = 0; i < N / 2; ++i) sum[i] = 0;
    wgmma_hold(sum);
    SOFTMPC_KEEP_LOOP
    for (int g = 0; g < count; ++g) {
      const char* weights = ring_.wait();
      wgmma_fence();
      for (int s = 0; s < steps_of_granule(shape, l, g); ++s)
        step<N>(shape, l, g * per + s, weights + s * N * 64, sum);
      wgmma_commit();
      ring_.advance();
      if (g > 0) {  // the granule before has been read
        wgmma_wait<1>();
        ring_.release();
      }
    }
    wgmma_wait<0>();
    wgmma_hold(sum);
    ring_.release();
  }

  template <int N>
  SOFTMPC_DEVICE void step(const NetShape& shape, int l, int k, const char* weights,
                           float (&sum)[N / 2]) {
    SOFTMPC_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int column = 2 * activation_word(shape, l, k, half);
      const std::uint64_t a = wgmma_plain(act_ + column / 8 * 16 * kSlots, kSlots);
      const std::uint64_t b = wgmma_plain(weights + half * N * 32, N);
      wgmma<N, true, number>(sum, a, b);
    }
  }

  template <int width>
  SOFTMPC_DEVICE void hidden(const NetShape& shape, int l, const float* bias) {
    float sum[width / 2];
    multiply<width>(shape, l, sum);
    if (shape.reads_split(l + 1))
      finish<width, true>(bias + shape.first_bias(l), sum);
    else
      finish<width, false>(bias + shape.first_bias(l), sum);
  }

  // h = silu(sum + bias), rounded, to where the inputs were: all of them have been read by this
  // warpgroup's own products, which are done
  template <int width, bool split>
  SOFTMPC_DEVICE void finish(const float* bias, float (&sum)[width / 2]) {
    sync();
    // places by constant steps from the first: else their addresses take the registers
    const Place first = wgmma_accumulator(index(), 0);
    char* const to = at(first.row, first.column);
    const float* const from = bias + first.column;
    SOFTMPC_UNROLL
    for (int i = 0; i < width / 2; i += 2) {
      if (i % 8 == 0) sync_warp();  // else the assembler begins all at once, and spills
      const int column = wgmma_accumulator(0, i).column, below = wgmma_accumulator(0, i).row;
      const float z0 = sum[i] + from[column], z1 = sum[i + 1] + from[column + 1];
      const float h0 = split ? silu_close(z0) : silu_fast(z0);
      const float h1 = split ? silu_close(z1) : silu_fast(z1);
      const std::uint32_t rounded = pack_pair<number>(h0, h1);
      auto* place = reinterpret_cast<std::uint32_t*>(to + wgmma_plain_byte(kSlots, below, column));
      *place = rounded;
      if (split) place[wgmma_plain_byte(kSlots, 0, width) / 4] = pack_rest<number>(rounded, h0, h1);
    }
    fence_async();
    sync();
  }

  /// The output layer: the instruction for as many outputs as there are.
  template <int N, class Out>
  SOFTMPC_DEVICE void last(const DeviceNet& net, const NetShape& shape, const float* bias,
                           const Out& out) {
    if constexpr (N > 16) {
      if (8 * shape.n_tiles(shape.layers) < N) return last<N / 2>(net, shape, bias, out);
    }
    float sum[N / 2];
    multiply<N>(shape, shape.layers, sum);
    SOFTMPC_UNROLL
    for (int i = 0; i < N / 2; ++i) {
      const Place p = wgmma_accumulator(index(), i);
      if (p.column >= shape.out) continue;
      const float y = sum[i] + bias[shape.first_bias(shape.layers) + p.column];
      out(p.row, p.column, net.output_mean[p.column] + net.output_std[p.column] * y);
    }
  }

  char* act_;
  Ring& ring_;
};

}  // namespace softmpc::cuda
