// SPDX-License-Identifier: Apache-2.0
#include "control/plan_clock.h"

#include <cmath>

namespace softmpc {
namespace {

constexpr double kWhole = 0.05;  // steps that count as none

}  // namespace

Move PlanClock::until(Nanoseconds time, PlanTime& from) const {
  if (time.count() == 0) {
    from.origin = within_reach(Nanoseconds(from.origin + step())).count();
    return {.whole = 1};
  }
  const bool first = !from.known;
  const double steps =
      first ? 1 : (static_cast<double>(time.count()) - static_cast<double>(from.origin)) / step_;
  from.known = 1;
  if (first || steps < -kWhole || steps > horizon_) {
    from.origin = time.count();
    // a first time is the end of a first step, as it is of the call without times; where time went
    // back, the plan stays
    return {.whole = first, .cold = steps > horizon_};
  }
  const double nearest = std::round(steps);
  const bool whole = std::abs(steps - nearest) <= kWhole;
  if (whole || reading_ == Reading::hold) {
    const double moved = whole ? nearest : std::floor(steps);
    const auto by = static_cast<std::int64_t>(std::llround(moved * step_));
    from.origin = within_reach(Nanoseconds(from.origin + by)).count();
    return {.whole = static_cast<int>(moved)};
  }
  from.origin = time.count();
  return {.whole = static_cast<int>(steps), .fraction = steps - std::floor(steps)};
}

void move_plan(std::span<float> plan, int nu, const Move& move) {
  const std::size_t shift = static_cast<std::size_t>(move.whole) * nu;
  const auto f = static_cast<float>(move.fraction);
  const auto before = [plan](std::size_t i) { return i < plan.size() ? plan[i] : 0.0f; };
  for (std::size_t i = 0; i < plan.size(); ++i) {
    const float from = before(i + shift);
    plan[i] = f == 0 ? from : from + f * (before(i + shift + nu) - from);
  }
}

}  // namespace softmpc
