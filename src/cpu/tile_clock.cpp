// SPDX-License-Identifier: Apache-2.0
#include "cpu/tile_clock.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace softmpc::cpu {

void TileClock::begin_solve(const Tiling& tiling, int rollouts, Clock::time_point deadline) {
  tiling_ = &tiling;
  rollouts_ = rollouts;
  deadline_ = deadline;
  begun_ = false;
  const auto end = order_.begin() + tiling.count();
  std::iota(order_.begin(), end, 0);
  const auto place = [&](int tile) {
    return std::pair(tiling.first_rollout(tile, rollouts), tile);
  };
  std::sort(order_.begin(), end, [&](int a, int b) { return place(a) < place(b); });
}

void TileClock::begin_iteration() {
  ahead_ = tiles_.slowest() + following_.slowest();
  late_.store(false, std::memory_order_relaxed);
  std::fill_n(took_.begin(), tiling_->count(), kNotRun);
}

int TileClock::end_iteration() {
  rolled_out_ = Clock::now();
  int done = rollouts_;
  for (int tile = 0; tile < tiling_->count(); ++tile) {
    if (took_[tile] == kNotRun) {
      done = std::min(done, tiling_->first_rollout(tile, rollouts_));
    } else {
      tiles_.add(took_[tile]);
      begun_ = true;
    }
  }
  return done;
}

/// Where expectations alone left no time for a plan, what was not done counts as done in no time:
/// else one slow tile could keep all later solves from beginning, and so from learning better.
void TileClock::end_solve(bool planned) {
  const Clock::time_point now = Clock::now();
  if (planned) {
    following_.add(now - rolled_out_);
  } else if (now < deadline_) {
    following_.add({});
    for (int tile = 0; !begun_ && tile < tiling_->count(); ++tile) tiles_.add({});
  }
}

}  // namespace softmpc::cpu
