// SPDX-License-Identifier: Apache-2.0
// Nets on their way into the planner thread, and the old ones on their way out.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <utility>

#include "softmpc/controller.h"

namespace softmpc {

/// Several threads offer, one swaps; none waits.
class OfferSlot {
 public:
  /// False if one waits. Frees, on the caller's thread, what the last swap has left.
  bool put(Prepared&& nets) noexcept {
    State expected = State::open;
    if (!state_.compare_exchange_strong(expected, State::filling, std::memory_order_acquire))
      return false;
    const std::optional<Prepared> old = std::move(nets_);
    nets_.emplace(std::move(nets));
    state_.store(State::waiting, std::memory_order_release);
    return true;  // and only now `old` goes, which takes a while
  }

  /// Swaps what waits, if anything does. One thread.
  void swap_into(Controller& controller) noexcept {
    if (state_.load(std::memory_order_acquire) != State::waiting) return;
    controller.swap(*nets_);
    state_.store(State::open, std::memory_order_release);
  }

  /// Frees what is here. While no other thread is.
  void clear() noexcept { nets_.reset(); }

 private:
  enum class State : std::uint8_t { open, filling, waiting };
  std::atomic<State> state_{State::open};
  std::optional<Prepared> nets_;  // offered, or swapped out
};

}  // namespace softmpc
