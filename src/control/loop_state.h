// SPDX-License-Identifier: Apache-2.0
// Everything of a controller that decides its next plan, nets and options apart, and its bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "control/command_log.h"
#include "control/plan_clock.h"
#include "softmpc/planner.h"

namespace softmpc {

/// Numbers that go from tick to tick.
struct TickCounts {
  std::uint64_t index = 0;
  std::int64_t time = 0, elapsed = 0;  ///< ns, of the present observation and since the last
  std::uint32_t episode = 0, solve = 0;
  std::int32_t fallbacks_in_a_row = 0;
  std::uint32_t restart = 0;  ///< the next plan is drawn anew
};

/// Stands before the rest of a saved state, which its checksum covers.
struct SavedHeader {
  std::uint32_t magic = 0x50434d53, version = 1;  // "SMCP"
  std::int32_t nx = 0, nu = 0, horizon = 0, commands = 0;
  std::uint32_t checksum = 0;
  bool operator==(const SavedHeader&) const = default;
};

struct LoopState {
  LoopState(const ProblemShape& shape, int horizon, int commands);

  TickCounts counts;
  PlanTime time;
  CommandLog log;
  std::vector<float> sequence;  ///< [H+1, nu]

  std::size_t bytes() const;
  /// `to` has bytes().
  void save(std::span<std::byte> to) const;
  /// False, with this half changed, unless a state of the same sizes was saved to `from`.
  bool load(std::span<const std::byte> from);

 private:
  template <class Self, class F>
  static void for_each_part(Self& self, const F& f);
  std::int32_t nx_, nu_, horizon_;
};

}  // namespace softmpc
