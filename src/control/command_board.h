// SPDX-License-Identifier: Apache-2.0
// The commands of the newest plan, where all threads can read them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "control/record_ring.h"
#include "softmpc/controller.h"
#include "softmpc/runner.h"

namespace softmpc {

class CommandBoard {
 public:
  CommandBoard(const Controller& controller, Reading reading);

  /// `plan` is from a state of `measured`. One thread.
  void publish(const Plan& plan, Nanoseconds measured) noexcept;
  /// As Runner::command_at().
  CommandInfo read(Nanoseconds t, std::span<float> action) const noexcept;

 private:
  struct Header {
    std::int64_t state_time;
    std::uint64_t index, bundle_hash;
    std::uint32_t status, from_fallback;
  };
  /// Where in the plan a moment lies: `row` 0..H, and how far from there to the next.
  struct Place {
    std::size_t row = 0;
    float fraction = 0;
    bool beyond = false;
  };
  Place place(Nanoseconds age) const;
  void copy_row(std::span<const RecordRing::Word> rows, const Place& at,
                std::span<float> action) const;

  const Reading reading_;
  const std::int64_t step_, delay_;  // ns
  const std::size_t horizon_;
  const std::vector<float> low_, high_, neutral_, rest_;  // [nu] which a run does not change
  RecordRing ring_;                                       // of a Header and commands [H+1, nu]
};

}  // namespace softmpc
