// SPDX-License-Identifier: Apache-2.0
// The latest observation on its way to the planner thread.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "softmpc/controller.h"

namespace softmpc {

struct Observed {
  std::vector<float> state;  // [nx]
  Nanoseconds measured{};
};

/// One thread puts, another takes, neither ever waits: each has a slot of its own, and the third,
/// between them, changes hands.
class Mailbox {
 public:
  explicit Mailbox(int nx) {
    for (Observed& slot : slots_) slot.state.resize(static_cast<std::size_t>(nx));
  }

  /// What was put before and not taken is forgotten. False if `state` has not nx entries.
  bool put(std::span<const float> state, Nanoseconds measured) noexcept {
    Observed& slot = slots_[putting_];
    if (state.size() != slot.state.size()) return false;
    std::ranges::copy(state, slot.state.begin());
    slot.measured = measured;
    putting_ = between_.exchange(putting_ | kNew, std::memory_order_acq_rel) & ~kNew;
    return true;
  }

  /// False if nothing was put since; latest() is what it was then.
  bool take() noexcept {
    if (!(between_.load(std::memory_order_relaxed) & kNew)) return false;
    taken_ = between_.exchange(taken_, std::memory_order_acq_rel) & ~kNew;
    return true;
  }
  const Observed& latest() const noexcept { return slots_[taken_]; }

 private:
  static constexpr std::uint32_t kNew = 4;  // beside the slot's number
  std::array<Observed, 3> slots_;
  std::uint32_t putting_ = 0, taken_ = 1;
  std::atomic<std::uint32_t> between_{2};
};

}  // namespace softmpc
