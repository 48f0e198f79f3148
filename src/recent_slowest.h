// SPDX-License-Identifier: Apache-2.0
// How long a piece of work may take, from how long it took.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>

namespace softmpc {

/// The slowest of the last 100 durations; 0 before the first.
class RecentSlowest {
 public:
  using Duration = std::chrono::steady_clock::duration;
  static constexpr int kCount = 100;

  void add(Duration duration) {
    last_[next_] = duration;
    next_ = (next_ + 1) % kCount;
  }
  Duration slowest() const { return *std::ranges::max_element(last_); }

 private:
  std::array<Duration, kCount> last_{};
  std::size_t next_ = 0;
};

}  // namespace softmpc
