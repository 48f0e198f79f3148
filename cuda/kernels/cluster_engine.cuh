// SPDX-License-Identifier: Apache-2.0
// Evaluates networks for few rollouts in the shortest time: the 8 blocks of a cluster share the
// last hidden layer by columns and the output layer by rows, and exchange one sum of [slots,
// outputs] through distributed shared memory. Every block keeps all states. One network for all
// slots.
#pragma once

#include "intrinsics.h"
#include "mma_engine.cuh"

namespace softmpc::cuda {

template <int slots, int widest, Number number>
class ClusterEngine : public MmaEngine<slots, widest, number> {
  using Base = MmaEngine<slots, widest, number>;
  using Base::kGroups;
  using Base::kWarps;
  // units that a warp fetches ahead, as registers allow
  static constexpr int kFirst = 8, kSlice = widest > 256 ? (slots > 16 ? 8 : 12) : 16, kLast = 4;

 public:
  using Base::kThreads;

  /// `words`: as MmaEngine; `outputs`: the most outputs of a net.
  SOFTMPC_DEVICE ClusterEngine(char* shared, int words, int outputs)
      : Base(shared, words),
        slice_sums_(reinterpret_cast<float*>(shared + mma_engine_bytes(slots, widest, words))),
        exchange_(slice_sums_ + kWarps * kGroups * 128),
        share_floats_(kGroups * ((outputs + 7) / 8) * 128) {
    // no block may store to another before that one runs
    cluster_arrive();
    cluster_wait();
  }

  SOFTMPC_DEVICE static int tile() { return block() / kClusterBlocks; }
  SOFTMPC_DEVICE static bool writes() { return cluster_rank() == 0; }

  template <int width>
  SOFTMPC_DEVICE void prefetch(const DeviceNet& net, const NetShape& shape, int network) {
    constexpr int kTiles = width / 64;
    const std::uint32_t* weights =
        net.weights + static_cast<std::size_t>(network) * shape.words() + lane() * 4;
    if (fits_first<kTiles>(shape)) {
      SOFTMPC_UNROLL
      for (int i = 0; i < kFirst; ++i)
        if (i < shape.k_steps(0) * kTiles)
          first_[i] = load_constant(
              weights + (i / kTiles * shape.n_tiles(0) + warp() * kTiles + i % kTiles) * 128);
    }
    SOFTMPC_UNROLL
    for (int i = 0; i < kSlice; ++i)
      if (i < slice_units<width>(shape))
        slice_[i] = load_constant(weights + slice_word<width>(shape, i));
    SOFTMPC_UNROLL
    for (int i = 0; i < kLast; ++i)
      if (i < last_units<width>(shape))
        last_[i] = load_constant(weights + last_word<width>(shape, warp() % tiles_out(shape), i));
    held_ = true;
  }

  /// As MmaEngine::evaluate.
  template <int width, class Index, class In, class Out>
  SOFTMPC_DEVICE void evaluate(const DeviceNet& net, const NetShape& shape, const Index& one,
                               const In& in, const Out& out) {
    static_assert(width % 256 == 0 && width <= widest, "a block's share is whole steps of 32");
    const OneNetwork index = {one(0)};
    if (!held_) prefetch<width>(net, shape, index.network);
    held_ = false;
    Base::stage(net, shape, in);
    sync_block();
    // all but the last hidden layer by every block
    for (int l = 0; l + 1 < shape.layers; ++l) {
      if (l == 0 && fits_first<width / 64>(shape))
        first_hidden<width>(net, shape, index);
      else
        this->template hidden<width>(net, shape, l, index);
    }
    slice_hidden<width>(net, shape, index.network);
    last_slice<width>(net, shape, index.network);
    cluster_arrive();
    cluster_wait();
    add_up(net, shape, index.network, out);
    parity_ ^= 1;
    sync_block();
  }

 private:
  SOFTMPC_DEVICE static int tiles_out(const NetShape& shape) { return shape.n_tiles(shape.layers); }
  template <int tiles>
  SOFTMPC_DEVICE static bool fits_first(const NetShape& shape) {
    return shape.layers > 1 && shape.k_steps(0) * tiles <= kFirst;
  }

  template <int width>
  SOFTMPC_DEVICE void first_hidden(const DeviceNet& net, const NetShape& shape,
                                   const OneNetwork& index) {
    constexpr int kTiles = width / 64;
    float sum[kGroups][kTiles][4] = {};
    SOFTMPC_UNROLL
    for (int k = 0; k < kFirst / kTiles; ++k) {
      if (k >= shape.k_steps(0)) break;
      Words4 unit[kTiles];
      SOFTMPC_UNROLL
      for (int n = 0; n < kTiles; ++n) unit[n] = first_[k * kTiles + n];
      this->template step<true, kTiles>(unit, shape, 0, k, 0, kGroups, sum);
    }
    sync_block();
    this->template finish<width>(net, shape, 0, index, sum);
    sync_block();
  }

  // The last hidden layer: this block's width / 8 columns; a warp has 8 of them and a share of the
  // steps along the inputs.
  template <int width>
  static constexpr int kSliceTiles = width / 64;
  template <int width>
  static constexpr int kShares = kWarps / kSliceTiles<width>;

  template <int width>
  SOFTMPC_DEVICE static int slice_units(const NetShape& shape) {
    const int steps = shape.k_steps(shape.layers - 1);
    return (steps + kShares<width> - 1) / kShares<width>;
  }
  /// Step of the warp's unit i; behind the last where shares are uneven.
  template <int width>
  SOFTMPC_DEVICE static int slice_step(const NetShape& shape, int i) {
    return warp() / kSliceTiles<width> * slice_units<width>(shape) + i;
  }
  template <int width>
  SOFTMPC_DEVICE static int slice_word(const NetShape& shape, int i) {
    const int l = shape.layers - 1, last = shape.k_steps(l) - 1;
    const int k = slice_step<width>(shape, i);
    const int tile = cluster_rank() * kSliceTiles<width> + warp() % kSliceTiles<width>;
    return shape.first_word(l) + ((k < last ? k : last) * shape.n_tiles(l) + tile) * 128;
  }

  template <int width>
  SOFTMPC_DEVICE void slice_hidden(const DeviceNet& net, const NetShape& shape, int network) {
    const int l = shape.layers - 1, units = slice_units<width>(shape);
    const std::uint32_t* weights =
        net.weights + static_cast<std::size_t>(network) * shape.words() + lane() * 4;
    float even[kGroups][4] = {}, odd[kGroups][4] = {};  // two chains of dependent products
    SOFTMPC_UNROLL
    for (int i = 0; i < kSlice; ++i)
      if (i < units) slice_step_product<width>(slice_[i], shape, l, i, even, odd);
    for (int i = kSlice; i < units; ++i)
      slice_step_product<width>(load_constant(weights + slice_word<width>(shape, i)), shape, l, i,
                                even, odd);
    SOFTMPC_UNROLL
    for (int g = 0; g < kGroups; ++g)
      for (int i = 0; i < 4; ++i)
        slice_sums_[(warp() * kGroups + g) * 128 + lane() * 4 + i] = even[g][i] + odd[g][i];
    sync_block();
    slice_finish<width>(net, shape, network);
    sync_block();
  }

  template <int width>
  SOFTMPC_DEVICE void slice_step_product(const Words4& unit, const NetShape& shape, int l, int i,
                                         float (&even)[kGroups][4], float (&odd)[kGroups][4]) {
    const int k = slice_step<width>(shape, i);
    if (k >= shape.k_steps(l)) return;  // the same for the whole warp
    SOFTMPC_UNROLL
    for (int g = 0; g < kGroups; ++g) {
      std::uint32_t a[4];
      this->load_a(a, g, activation_word(shape, l, k, 0));
      mma<number>(even[g], a, unit.x, unit.y);
      this->load_a(a, g, activation_word(shape, l, k, 1));
      mma<number>(odd[g], a, unit.z, unit.w);
    }
  }

  /// silu of the sums over shares, to where the output layer finds this block's columns.
  template <int width>
  SOFTMPC_DEVICE void slice_finish(const DeviceNet& net, const NetShape& shape, int network) {
    constexpr int kColumns = width / kClusterBlocks, kPairs = kColumns / 2;
    const bool split = shape.reads_split(shape.layers);
    const int first = cluster_rank() * kColumns;
    const float* bias = net.bias + static_cast<std::size_t>(network) * shape.biases() +
                        shape.first_bias(shape.layers - 1) + first;
    for (int i = thread(); i < slots * kPairs; i += kThreads) {
      const int slot = i / kPairs, column = i % kPairs * 2;
      // the place of (slot, column) in a fragment of sums
      const int at = slot / 16 * 128 + (slot % 8 * 4 + column % 8 / 2) * 4 + slot % 16 / 8 * 2;
      float z[2] = {};
      for (int share = 0; share < kShares<width>; ++share) {
        const int from_warp = share * kSliceTiles<width> + column / 8;
        for (int j = 0; j < 2; ++j) z[j] += slice_sums_[from_warp * kGroups * 128 + at + j];
      }
      float h[2];
      for (int j = 0; j < 2; ++j) {
        z[j] += bias[column + j];
        h[j] = split ? silu_close(z[j]) : silu_fast(z[j]);
      }
      const std::uint32_t rounded = pack_pair<number>(h[0], h[1]);
      std::uint32_t* to = this->row(slot) + (first + column) / 2;
      to[0] = rounded;
      if (split) to[width / 2] = pack_rest<number>(rounded, h[0], h[1]);
    }
  }

  // The output layer: this block's columns of its input, all parts.
  template <int width>
  SOFTMPC_DEVICE static int last_units(const NetShape& shape) {
    return shape.parts(shape.layers) * (width / 256);
  }
  template <int width>
  SOFTMPC_DEVICE static int last_step(int unit) {
    constexpr int kPart = width / 256;  // steps of a part that are this block's
    return unit / kPart * (width / 32) + cluster_rank() * kPart + unit % kPart;
  }
  template <int width>
  SOFTMPC_DEVICE static int last_word(const NetShape& shape, int tile, int unit) {
    return shape.first_word(shape.layers) +
           (last_step<width>(unit) * tiles_out(shape) + tile) * 128;
  }

  template <int width>
  SOFTMPC_DEVICE void last_slice(const DeviceNet& net, const NetShape& shape, int network) {
    const int tiles = tiles_out(shape), l = shape.layers, units = last_units<width>(shape);
    const std::uint32_t* weights =
        net.weights + static_cast<std::size_t>(network) * shape.words() + lane() * 4;
    // warps beyond the jobs have nothing to do; a warp's first job is the one fetched ahead where
    // groups follow each other slower than tiles
    for (int job = warp(); job < kGroups * tiles; job += kWarps) {
      const int group = job / tiles, tile = job % tiles;
      float sum[4] = {};
      SOFTMPC_UNROLL
      for (int i = 0; i < kLast; ++i) {
        if (i >= units) break;
        const bool ahead = tile == warp() % tiles;
        last_product_unit<width>(
            ahead ? last_[i] : load_constant(weights + last_word<width>(shape, tile, i)), shape, l,
            group, i, sum);
      }
      for (int i = kLast; i < units; ++i)
        last_product_unit<width>(load_constant(weights + last_word<width>(shape, tile, i)), shape,
                                 l, group, i, sum);
      float* mine = exchange_ + (parity_ * kClusterBlocks + cluster_rank()) * share_floats_ +
                    job * 128 + lane() * 4;
      SOFTMPC_UNROLL
      for (int rank = 0; rank < kClusterBlocks; ++rank)
        store_remote(remote_address(mine, rank), sum[0], sum[1], sum[2], sum[3]);
    }
  }

  template <int width>
  SOFTMPC_DEVICE void last_product_unit(const Words4& unit, const NetShape& shape, int l, int group,
                                        int i, float (&sum)[4]) {
    const int k = last_step<width>(i);
    std::uint32_t a[4];
    this->load_a(a, group, activation_word(shape, l, k, 0));
    mma<number>(sum, a, unit.x, unit.y);
    this->load_a(a, group, activation_word(shape, l, k, 1));
    mma<number>(sum, a, unit.z, unit.w);
  }

  /// Sums of all blocks in the order of their ranks, so that every block has the same bits.
  template <class Out>
  SOFTMPC_DEVICE void add_up(const DeviceNet& net, const NetShape& shape, int network,
                             const Out& out) {
    const int tiles = tiles_out(shape);
    const float* shares = exchange_ + parity_ * kClusterBlocks * share_floats_;
    for (int job = warp(); job < kGroups * tiles; job += kWarps) {
      float sum[4] = {};
      for (int rank = 0; rank < kClusterBlocks; ++rank)
        for (int i = 0; i < 4; ++i)
          sum[i] += shares[rank * share_floats_ + job * 128 + lane() * 4 + i];
      this->hand_out(net, shape, network, job / tiles, job % tiles, sum, out);
    }
  }

  Words4 first_[kFirst], slice_[kSlice], last_[kLast];
  bool held_ = false;
  float* slice_sums_;  // [warps, groups, 128]
  float* exchange_;    // [2, blocks, groups, tiles of outputs, 128]; two, used in turn: a block may
                       // be one evaluation ahead of another
  int share_floats_;
  int parity_ = 0;
};

}  // namespace softmpc::cuda
