// SPDX-License-Identifier: Apache-2.0
// Evaluates packed networks for a tile of slots (rollouts in an order of the caller's) with 16-bit
// products of a warp, float32 sums. 8 warps share the outputs of a layer; weights come straight
// from L2 to registers in the order of the fragments, read once per tile; activations lie in shared
// memory.
#pragma once

#include "engine_bytes.h"
#include "intrinsics.h"
#include "job.h"
#include "layout.h"
#include "network_index.cuh"
#include "numbers.h"
#include "softmpc/hd/layer_norm.h"
#include "softmpc/hd/math.h"

namespace softmpc::cuda {

// silu(z) = h tanh(h) + h, h = z / 2: one special-function instruction instead of two
SOFTMPC_DEVICE float silu_fast(float z) {
  const float h = 0.5f * z;
  return hd::fma(h, tanh_fast(h), h);
}

// silu(z) = z / (1 + 2^(-z log2 e)) to about 1e-6 relative, for split operands
SOFTMPC_DEVICE float silu_close(float z) {
  return z * reciprocal_fast(1.0f + exp2_fast(-1.44269504088896341f * z));
}
template <Number number>
SOFTMPC_DEVICE std::uint32_t pack_pair(float low, float high) {
  if constexpr (number == Number::f16) return pack_f16(low, high);
  return pack_bf16(low, high);
}
template <Number number>
SOFTMPC_DEVICE void unpack_pair(std::uint32_t word, float& low, float& high) {
  if constexpr (number == Number::f16) {
    unpack_f16(word, low, high);
  } else {
    low = hd::bits_to_float(word << 16);
    high = hd::bits_to_float(word & 0xffff0000u);
  }
}
/// What rounding left of a pair, rounded in turn: a = a1 + a2.
template <Number number>
SOFTMPC_DEVICE std::uint32_t pack_rest(std::uint32_t rounded, float low, float high) {
  float l, h;
  unpack_pair<number>(rounded, l, h);
  return pack_pair<number>(low - l, high - h);
}
template <Number number>
SOFTMPC_DEVICE void mma(float (&d)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                        std::uint32_t b1) {
  if constexpr (number == Number::f16)
    mma_f16(d, a, b0, b1);
  else
    mma_bf16(d, a, b0, b1);
}

/// First word (pair) of step k (of 32) of a slot's activations; `half` 0 or 1.
SOFTMPC_DEVICE int activation_word(const NetShape& shape, int l, int k, int half) {
  const int column = 32 * k + 16 * half, size = shape.part_size(l);
  // no division: in a loop over layers the size is no constant
  const int part = (column >= size) + (column >= 2 * size) + (column >= 3 * size);
  const int parts = shape.parts(l);
  // columns behind the last part meet zero weights; they are zero where they lie
  return (((part < parts ? activation_part(part) : part) - part) * size + column) / 2;
}

/// `slots` a multiple of 16; `widest` the widest padded hidden layer that will be evaluated.
template <int slots, int widest, Number number>
class MmaEngine {
 public:
  static constexpr int kThreads = 256;
  static constexpr WeightOrder kOrder = WeightOrder::fragments;
  static constexpr int kWarps = kThreads / 32;
  static constexpr int kGroup = 16;  // slots that share a network
  static constexpr int kGroups = slots / kGroup;
  // Steps of weights in flight: a few rollouts are bound by the way from L2. Wide layers have no
  // registers left for more than one.
  template <int tiles>
  static constexpr int kAhead = slots <= 16 ? (tiles > 4 ? 2 : 4)
                                            : (slots <= 32 && tiles <= 4 ? 2 : 1);

  SOFTMPC_DEVICE MmaEngine(char* shared, int input_words, int = 0)
      : stride_(mma_engine_stride(widest, input_words)),
        act_(reinterpret_cast<std::uint32_t*>(shared)),
        partial_(reinterpret_cast<float*>(act_ + slots * stride_)) {}

  /// Which tile of rollouts this thread works on, its number among the tile's threads, their
  /// barrier, and whether it writes the results.
  SOFTMPC_DEVICE static int tile() { return block(); }
  SOFTMPC_DEVICE static int index() { return thread(); }
  SOFTMPC_DEVICE static void sync() { sync_block(); }
  SOFTMPC_DEVICE static bool writes() { return true; }
  /// Begins to fetch what evaluate() of this network will read; optional.
  template <int width>
  SOFTMPC_DEVICE void prefetch(const DeviceNet&, const NetShape&, int) {}

  /// Outputs of network `index(group)` for the inputs `in(slot, column)`; groups of one network are
  /// neighbours. Calls out(slot, column, value) once for each. All threads call; begins and ends
  /// with the block in step.
  template <int width, class Index, class In, class Out>
  SOFTMPC_DEVICE void evaluate(const DeviceNet& net, const NetShape& shape, const Index& index,
                               const In& in, const Out& out) {
    static_assert(width % 64 == 0 && width <= widest);
    stage(net, shape, in);
    sync_block();
    for (int l = 0; l < shape.layers; ++l) hidden<width>(net, shape, l, index);
    last(net, shape, index, out);
    sync_block();
  }

 protected:
  /// Units of 8 outputs by 32 inputs that a warp reads ahead.
  template <int tiles>
  struct Ahead {
    Words4 unit[kAhead<tiles>][tiles];
  };

  SOFTMPC_DEVICE std::uint32_t* row(int slot) { return act_ + slot * stride_; }

  // part p of column c of a layer lies at word (p * part_size + c) / 2
  template <class In>
  SOFTMPC_DEVICE void stage(const DeviceNet& net, const NetShape& shape, const In& in) {
    const int words = shape.part_size(0) / 2;
    for (int i = thread(); i < slots * words; i += kThreads) {
      const int slot = i / words, column = i % words * 2;
      float v[2];
      for (int j = 0; j < 2; ++j) {
        const int c = column + j;
        v[j] = c < shape.in ? (in(slot, c) - net.input_mean[c]) * net.input_scale[c] : 0.0f;
      }
      const std::uint32_t rounded = pack_pair<number>(v[0], v[1]);
      row(slot)[column / 2] = rounded;
      row(slot)[words + column / 2] = pack_rest<number>(rounded, v[0], v[1]);
    }
    // the last step of 32 may reach beyond the parts; zero weights must not meet NaN there
    const int begin = shape.parts(0) * words;
    for (int i = thread(); i < slots * 8; i += kThreads)
      if (begin + i % 8 < input_words(shape)) row(i / 8)[begin + i % 8] = 0;
  }

  SOFTMPC_DEVICE void load_a(std::uint32_t (&a)[4], int group, int word) {
    const Place p = ldmatrix_row(lane());
    load_matrix(a, row(16 * group + p.row) + word + p.column / 2);
  }

  template <int width, class Index>
  SOFTMPC_DEVICE void hidden(const DeviceNet& net, const NetShape& shape, int l,
                             const Index& index) {
    constexpr int kTiles = width / 64;  // groups of 8 outputs of a warp
    float sum[kGroups][kTiles][4] = {};
    const std::uint32_t* mine = net.weights + shape.first_word(l) + warp() * kTiles * 128;
    for (int first = 0; first < kGroups;) {
      const int network = index(first);
      int end = first + 1;
      while (end < kGroups && (Index::kSame || index(end) == network)) ++end;
      multiply<Index::kSame, kTiles>(mine + static_cast<std::size_t>(network) * shape.words(),
                                     shape, l, first, end, sum);
      first = end;
    }
    sync_block();  // all have read the inputs
    if (shape.norm_units > 0) normalise<width>(net, shape, l, index, sum);
    finish<width>(net, shape, l, index, sum);
    sync_block();
  }

  /// sum += activations of groups [first, end) times the warp's columns of one network's layer.
  template <bool all, int tiles>
  SOFTMPC_DEVICE void multiply(const std::uint32_t* weights, const NetShape& shape, int l,
                               int first, int end, float (&sum)[kGroups][tiles][4]) {
    constexpr int kDepth = kAhead<tiles>;
    const int steps = shape.k_steps(l), step_words = shape.n_tiles(l) * 128;
    Ahead<tiles> next;
    const auto fetch = [&](int k, Words4(&to)[tiles]) {
      SOFTMPC_UNROLL
      for (int n = 0; n < tiles; ++n)
        to[n] = load_constant(weights + static_cast<std::size_t>(k) * step_words + n * 128 +
                              lane() * 4);
    };
    SOFTMPC_UNROLL
    for (int i = 0; i < kDepth; ++i)
      if (i < steps) fetch(i, next.unit[i]);
    for (int begin = 0; begin < steps; begin += kDepth) {
      SOFTMPC_UNROLL
      for (int i = 0; i < kDepth; ++i) {
        const int k = begin + i;
        if (k >= steps) break;
        Words4 unit[tiles];
        SOFTMPC_UNROLL
        for (int n = 0; n < tiles; ++n) unit[n] = next.unit[i][n];
        if (k + kDepth < steps) fetch(k + kDepth, next.unit[i]);
        step<all, tiles>(unit, shape, l, k, first, end, sum);
      }
    }
  }

  template <bool all, int tiles>
  SOFTMPC_DEVICE void step(const Words4 (&unit)[tiles], const NetShape& shape, int l, int k,
                           int first, int end, float (&sum)[kGroups][tiles][4]) {
    SOFTMPC_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int word = activation_word(shape, l, k, half);
      SOFTMPC_UNROLL
      for (int g = 0; g < kGroups; ++g) {
        if (!all && (g < first || g >= end)) continue;
        std::uint32_t a[4];
        load_a(a, g, word);
        SOFTMPC_UNROLL
        for (int n = 0; n < tiles; ++n)
          mma<number>(sum[g][n], a, half == 0 ? unit[n].x : unit[n].z,
                      half == 0 ? unit[n].y : unit[n].w);
      }
    }
  }

  /// sum = g c + s of LayerNorm of layer l, whose units the warps share.
  template <int width, class Index>
  SOFTMPC_DEVICE void normalise(const DeviceNet& net, const NetShape& shape, int l,
                                const Index& index, float (&sum)[kGroups][width / 64][4]) {
    constexpr int kTiles = width / 64;
    const float share = 1.0f / static_cast<float>(shape.norm_units);
    float mean[kGroups][2], rate[kGroups][2];
    each_sum<kTiles>(sum, [&](int g, int, int column, float& z) {
      z += parameters(net, shape, index(g))[shape.first_bias(l) + column];
    });
    sum_units<kTiles>(sum, mean, [](float z) { return z; });  // 0 in the padding
    SOFTMPC_UNROLL
    for (int g = 0; g < kGroups; ++g)
      for (int half = 0; half < 2; ++half) mean[g][half] *= share;
    each_sum<kTiles>(sum, [&](int g, int half, int column, float& z) {
      z = column < shape.norm_units ? z - mean[g][half] : 0.0f;
    });
    sum_units<kTiles>(sum, rate, [](float z) { return z * z; });
    SOFTMPC_UNROLL
    for (int g = 0; g < kGroups; ++g)
      for (int half = 0; half < 2; ++half)
        rate[g][half] = hd::layer_norm_rate(share * rate[g][half]);
    each_sum<kTiles>(sum, [&](int g, int half, int column, float& z) {
      const float* p = parameters(net, shape, index(g)) + column;
      z = hd::layer_norm(z * rate[g][half], p[shape.first_scale(l)], p[shape.first_shift(l)]);
    });
  }

  SOFTMPC_DEVICE static const float* parameters(const DeviceNet& net, const NetShape& shape,
                                                int network) {
    return net.bias + static_cast<std::size_t>(network) * shape.biases();
  }

  /// f(group, half, column, sum) for all sums of a thread; the halves are two rows of a group.
  template <int tiles, class F>
  SOFTMPC_DEVICE static void each_sum(float (&sum)[kGroups][tiles][4], const F& f) {
    SOFTMPC_UNROLL
    for (int g = 0; g < kGroups; ++g) SOFTMPC_UNROLL
    for (int n = 0; n < tiles; ++n) SOFTMPC_UNROLL
    for (int i = 0; i < 4; ++i)
      f(g, i / 2, 8 * (warp() * tiles + n) + c_fragment(lane(), i).column, sum[g][n][i]);
  }

  /// Sums of f(sum) over the columns of all warps, for each row that the thread has a part of.
  template <int tiles, class F>
  SOFTMPC_DEVICE void sum_units(const float (&sum)[kGroups][tiles][4], float (&total)[kGroups][2],
                                const F& f) {
    static_assert(slots <= 128, "partial_ has room for a sum of each warp and slot");
    float* const of_row = partial_ + c_fragment(lane(), 0).row;
    SOFTMPC_UNROLL
    for (int g = 0; g < kGroups; ++g) SOFTMPC_UNROLL
    for (int half = 0; half < 2; ++half) {
      float own = 0;
      SOFTMPC_UNROLL
      for (int n = 0; n < tiles; ++n) own += f(sum[g][n][2 * half]) + f(sum[g][n][2 * half + 1]);
      own += shuffle_xor(own, 1);  // the four lanes of a row
      own += shuffle_xor(own, 2);
      if (lane() % 4 == 0) of_row[warp() * slots + 16 * g + 8 * half] = own;
    }
    sync_block();
    SOFTMPC_UNROLL
    for (int g = 0; g < kGroups; ++g) SOFTMPC_UNROLL
    for (int half = 0; half < 2; ++half) {
      total[g][half] = 0;
      SOFTMPC_UNROLL
      for (int w = 0; w < kWarps; ++w) total[g][half] += of_row[w * slots + 16 * g + 8 * half];
    }
    sync_block();
  }

  /// h = silu(sum + bias), or of what LayerNorm made of it, rounded, to where the inputs were.
  template <int width, class Index>
  SOFTMPC_DEVICE void finish(const DeviceNet& net, const NetShape& shape, int l, const Index& index,
                             const float (&sum)[kGroups][width / 64][4]) {
    constexpr int kTiles = width / 64;
    const bool split = shape.reads_split(l + 1), biased = shape.norm_units == 0;
    SOFTMPC_UNROLL
    for (int g = 0; g < kGroups; ++g) {
      const float* bias = parameters(net, shape, index(g)) + shape.first_bias(l);
      SOFTMPC_UNROLL
      for (int n = 0; n < kTiles; ++n) SOFTMPC_UNROLL
      for (int i = 0; i < 4; i += 2) {
        const Place p = c_fragment(lane(), i);
        const int column = 8 * (warp() * kTiles + n) + p.column;
        const float z0 = sum[g][n][i] + (biased ? bias[column] : 0.0f);
        const float z1 = sum[g][n][i + 1] + (biased ? bias[column + 1] : 0.0f);
        // split operands are to be as good as float32, their SiLU too
        const float h0 = split ? silu_close(z0) : silu_fast(z0);
        const float h1 = split ? silu_close(z1) : silu_fast(z1);
        const std::uint32_t rounded = pack_pair<number>(h0, h1);
        std::uint32_t* to = row(16 * g + p.row) + column / 2;
        to[0] = rounded;
        if (split) to[width / 2] = pack_rest<number>(rounded, h0, h1);
      }
    }
  }

  /// The output layer: few outputs, so that warps share its steps where they would be idle.
  template <class Index, class Out>
  SOFTMPC_DEVICE void last(const DeviceNet& net, const NetShape& shape, const Index& index,
                           const Out& out) {
    const int l = shape.layers, tiles = shape.n_tiles(l), jobs = kGroups * tiles;
    int shares = 1;  // of the steps of a job
    while (2 * shares * jobs <= kWarps) shares *= 2;
    for (int unit = warp(); unit < jobs * shares; unit += kWarps) {
      const int job = unit / shares, group = job / tiles, tile = job % tiles;
      float sum[4];
      last_product(net, shape, index(group), group, tile, unit % shares, shares, sum);
      if (shares > 1) {
        float* to = partial_ + unit * 128 + lane() * 4;
        for (int i = 0; i < 4; ++i) to[i] = sum[i];
      } else {
        hand_out(net, shape, index(group), group, tile, sum, out);
      }
    }
    if (shares == 1) return;
    sync_block();
    if (warp() < jobs) {
      float sum[4] = {};
      for (int s = 0; s < shares; ++s)
        for (int i = 0; i < 4; ++i)
          sum[i] += partial_[(warp() * shares + s) * 128 + lane() * 4 + i];
      const int group = warp() / tiles;
      hand_out(net, shape, index(group), group, warp() % tiles, sum, out);
    }
  }

  SOFTMPC_DEVICE void last_product(const DeviceNet& net, const NetShape& shape, int member,
                                   int group, int tile, int share, int shares, float (&sum)[4]) {
    const int l = shape.layers, steps = shape.k_steps(l), tiles = shape.n_tiles(l);
    const std::uint32_t* weights = net.weights + static_cast<std::size_t>(member) * shape.words() +
                                   shape.first_word(l) + tile * 128 + lane() * 4;
    float even[4] = {}, odd[4] = {};  // two chains of dependent products instead of one
    constexpr int kBurst = 4;         // loads in flight
    for (int begin = share * kBurst; begin < steps; begin += shares * kBurst) {
      Words4 unit[kBurst];
      SOFTMPC_UNROLL
      for (int i = 0; i < kBurst; ++i)
        if (begin + i < steps)
          unit[i] = load_constant(weights + static_cast<std::size_t>(begin + i) * tiles * 128);
      SOFTMPC_UNROLL
      for (int i = 0; i < kBurst; ++i) {
        if (begin + i >= steps) continue;
        std::uint32_t a[4];
        load_a(a, group, activation_word(shape, l, begin + i, 0));
        mma<number>(even, a, unit[i].x, unit[i].y);
        load_a(a, group, activation_word(shape, l, begin + i, 1));
        mma<number>(odd, a, unit[i].z, unit[i].w);
      }
    }
    for (int i = 0; i < 4; ++i) sum[i] = even[i] + odd[i];
  }

  template <class Out>
  SOFTMPC_DEVICE void hand_out(const DeviceNet& net, const NetShape& shape, int member, int group,
                               int tile, const float (&sum)[4], const Out& out) {
    const float* bias = parameters(net, shape, member) + shape.first_bias(shape.layers);
    for (int i = 0; i < 4; ++i) {
      const Place p = c_fragment(lane(), i);
      const int column = 8 * tile + p.column;
      if (column >= shape.out) continue;
      const float y = sum[i] + bias[column];
      out(16 * group + p.row, column, net.output_mean[column] + net.output_std[column] * y);
    }
  }

  int stride_;
  std::uint32_t* act_;  // [slots, stride] pairs
  float* partial_;      // [warps, 128]
};

}  // namespace softmpc::cuda
