// SPDX-License-Identifier: Apache-2.0
// Under a deadline: which tiles may begin, and which rollouts are done.
#pragma once

#include <atomic>
#include <vector>

#include "cpu/tiling.h"
#include "recent_slowest.h"
#include "softmpc/planner.h"

namespace softmpc::cpu {

/// Lets a tile begin if it and what follows the rollouts, both as slow as the slowest of late, end
/// before the deadline. Tiles come in an order in which all problems advance evenly; after one that
/// would be late none begins.
class TileClock {
 public:
  using Clock = SolveBudget::Clock;

  /// Room for solves of up to so many tiles.
  void prepare(int most_tiles) {
    order_.resize(most_tiles);
    took_.resize(most_tiles);
  }
  /// Borrows the tiling, of problems of `rollouts` lanes.
  void begin_solve(const Tiling& tiling, int rollouts, Clock::time_point deadline);
  void begin_iteration();
  /// Calls roll(tile) for the index-th tile of the order, if there is time. Several threads may,
  /// for indices of their own.
  template <class F>
  void run(int index, const F& roll);
  /// How many leading rollouts of every problem are done.
  int end_iteration();
  /// `planned`: there was time for a plan.
  void end_solve(bool planned);

 private:
  static constexpr Clock::duration kNotRun{-1};

  RecentSlowest tiles_, following_;
  const Tiling* tiling_ = nullptr;
  int rollouts_ = 0;
  Clock::time_point deadline_, rolled_out_;
  std::vector<int> order_;
  // of an iteration
  Clock::duration ahead_{};            // of a tile that begins now, until the end of the solve
  std::atomic<bool> late_{false};      // a tile was
  std::vector<Clock::duration> took_;  // by tile
  bool begun_ = false;                 // a tile was, in any iteration
};

template <class F>
void TileClock::run(int index, const F& roll) {
  if (late_.load(std::memory_order_relaxed)) return;
  const Clock::time_point begin = Clock::now();
  if (begin + ahead_ > deadline_) {
    late_.store(true, std::memory_order_relaxed);
    return;
  }
  const int tile = order_[index];
  roll(tile);
  took_[tile] = Clock::now() - begin;
}

}  // namespace softmpc::cpu
