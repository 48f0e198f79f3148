// SPDX-License-Identifier: Apache-2.0
// How the lanes of a solve are cut into tiles.
#pragma once

#include <algorithm>

#include "cpu/kernels.h"

namespace softmpc::cpu {

/// Tiles of `wide` blocks of kLanes, as many as give every thread the same number, and for the rest
/// one narrower tile a thread: 13 blocks are 3+3+3+3+1 for one thread, and for two threads too (7
/// and 6 blocks). Results do not depend on it.
class Tiling {
 public:
  Tiling() = default;
  Tiling(int lanes, int wide, int threads) : lanes_(lanes), wide_(wide) {
    const int blocks = (lanes + kLanes - 1) / kLanes;
    wide_count_ = blocks / (wide * threads) * threads;
    rest_ = blocks - wide_count_ * wide;
    rest_count_ = std::min(rest_, threads);
  }

  /// Tiles of any tiling of so many lanes or fewer, at most.
  static int most(int lanes, int wide, int threads) {
    return lanes / (wide * kLanes) + 1 + threads;
  }

  int count() const { return wide_count_ + rest_count_; }
  /// First lane of a tile; of count(): a multiple of kLanes beyond all lanes.
  int begin(int tile) const {
    if (tile <= wide_count_) return tile * wide_ * kLanes;
    const int i = tile - wide_count_, more = rest_ % rest_count_;
    return (wide_count_ * wide_ + i * (rest_ / rest_count_) + std::min(i, more)) * kLanes;
  }
  /// One beyond its last lane.
  int end(int tile) const { return std::min(lanes_, begin(tile + 1)); }
  /// Its width, padding included.
  int width(int tile) const { return begin(tile + 1) - begin(tile); }
  /// The first rollout that a tile holds of any problem of `rollouts` lanes: those before it are
  /// done without the tile.
  int first_rollout(int tile, int rollouts) const {
    const int rollout = begin(tile) % rollouts;
    return rollout + end(tile) - begin(tile) > rollouts ? 0 : rollout;
  }
  /// The tile of a lane.
  int find(int lane) const {
    int tile = std::min(lane / (wide_ * kLanes), wide_count_);
    while (begin(tile + 1) <= lane) ++tile;
    return tile;
  }

 private:
  int lanes_ = 0, wide_ = 1, wide_count_ = 0, rest_ = 0, rest_count_ = 0;
};

}  // namespace softmpc::cpu
