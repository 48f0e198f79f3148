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
  std::uint32_t restart = 0;           ///< the next plan is drawn anew
  std::uint32_t parameters_given = 0;  ///< else the reward's own hold
  std::uint32_t reserved = 0;          ///< no padding is saved
};

/// Stands before the rest of a saved state, which its checksum covers.
struct SavedHeader {
  std::uint32_t magic = 0x50434d53, version = 2;  // "SMCP"
  std::int32_t nx = 0, nu = 0, horizon = 0, commands = 0, parameters = 0;
  std::uint32_t checksum = 0;
  bool operator==(const SavedHeader&) const = default;
};

struct LoopState {
  LoopState(const ProblemShape& shape, int horizon, int commands, int parameters);

  /// Of the reward; empty: its own.
  std::span<const float> given_parameters() const {
    return std::span(parameters).first(counts.parameters_given ? parameters.size() : 0);
  }

  TickCounts counts;
  PlanTime time;
  CommandLog log;
  std::vector<float> sequence;    ///< [H+1, nu]
  std::vector<float> low, high;   ///< [nu] of the actions
  std::vector<float> parameters;  ///< of the reward

  int horizon() const { return horizon_; }
  /// Everything of a state of the same sizes, but of its commands the latest that have room.
  void take(const LoopState& other);

  std::size_t bytes() const;
  /// `to` has bytes().
  void save(std::span<std::byte> to) const;
  /// False, with this half changed, unless a state of the same sizes was saved to `from`. Whether
  /// bounds and parameters are possible is for the planner to say.
  bool load(std::span<const std::byte> from);

 private:
  template <class Self, class F>
  static void for_each_part(Self& self, const F& f);
  /// What stands before these bytes of such a state.
  SavedHeader header_of(std::span<const std::byte> saved) const;
  std::int32_t nx_, nu_, horizon_;
};

}  // namespace softmpc
