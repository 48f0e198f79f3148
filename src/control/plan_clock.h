// SPDX-License-Identifier: Apache-2.0
// How far a plan has to move until the time of an observation, and the move.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <span>

#include "softmpc/controller.h"

namespace softmpc {

inline constexpr Nanoseconds kFarthest{std::int64_t{1} << 61};  ///< 73 years

/// The nearest time whose differences do not overflow.
inline Nanoseconds within_reach(Nanoseconds time) {
  return std::clamp(time, -kFarthest, kFarthest);
}

/// s = `whole` + `fraction` model steps.
struct Move {
  int whole = 0;
  double fraction = 0;  ///< in [0, 1)
  bool cold = false;    ///< the plan lies in the past, or there is none: draw one, shift it a step
};

/// The time of a plan's first step.
struct PlanTime {
  std::int64_t origin = 0;  ///< ns
  std::int64_t known = 0;   ///< whether there was an observation with a time
};

class PlanClock {
 public:
  /// `dt` in seconds.
  PlanClock(double dt, int horizon, Reading reading)
      : step_(dt * 1e9), horizon_(horizon), reading_(reading) {}

  /// Of a plan of `from` until an observation of `time` (0: one step), to which `from` is set.
  /// Within 5 % of a whole number of steps the plan moves by whole steps, and what is left is made
  /// up for by later moves.
  Move until(Nanoseconds time, PlanTime& from) const;
  std::int64_t step() const { return static_cast<std::int64_t>(step_ + 0.5); }  ///< ns

 private:
  double step_;  // ns
  int horizon_;
  Reading reading_;
};

/// u_t <- u(t + s), read between two steps on the line that joins them; behind the plan is 0.
/// `plan` is [H+1, nu].
void move_plan(std::span<float> plan, int nu, const Move& move);

}  // namespace softmpc
