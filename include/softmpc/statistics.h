// SPDX-License-Identifier: Apache-2.0
// What a controller has counted and how long its plans took. Plain values: a copy is a snapshot.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "softmpc/types.h"

namespace softmpc {

/// Durations by their magnitude, eight buckets an octave from 1 us to 67 s: a percentile is at most
/// an eighth of an octave (9 %) too high. Adding takes no time worth naming and never allocates.
class LatencyHistogram {
 public:
  void add(std::chrono::nanoseconds duration) noexcept;
  std::uint64_t count() const noexcept { return count_; }
  std::chrono::nanoseconds longest() const noexcept { return longest_; }
  /// The duration that a share 0..1 of all were within, rounded up to a bucket's end and never
  /// above longest(); 0 while there are none.
  std::chrono::nanoseconds percentile(double share) const noexcept;

 private:
  static constexpr std::size_t kBuckets = 26 * 8 + 1;
  std::array<std::uint64_t, kBuckets> buckets_{};
  std::uint64_t count_ = 0;
  std::chrono::nanoseconds longest_{0};
};

/// Counts since a controller's creation, of both forms of plan().
struct Statistics {
  std::uint64_t plans = 0;
  std::array<std::uint64_t, kPlanStatuses> by_status{};  ///< index: the status's number
  std::uint64_t fallbacks = 0;                           ///< commands that came from the fallback
  std::uint64_t rests = 0;            ///< of these, rest after max_fallbacks in a row
  std::uint64_t callback_errors = 0;  ///< on_fallback threw or gave no finite action: rest was sent
  std::uint64_t clipped = 0;          ///< plans whose n + u_0 had to be clipped to the bounds
  std::uint64_t rate_limited = 0;     ///< commands that max_rate changed
  std::uint64_t time_backwards = 0;   ///< observations that were older than the one before
  std::uint64_t cold_starts = 0;  ///< plans drawn anew: the old one lay in the past, or rejected
  std::uint64_t swaps = 0;        ///< hot swaps
  LatencyHistogram latency;       ///< wall time of plan()

  std::uint64_t of(PlanStatus status) const noexcept {
    return by_status[static_cast<std::size_t>(status)];
  }
};

}  // namespace softmpc
