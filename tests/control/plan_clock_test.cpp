// SPDX-License-Identifier: Apache-2.0
// Tests control/plan_clock.h: how far a plan moves, and that the move is what a reading of it says.
#include "control/plan_clock.h"

#include <cmath>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "core/random_models.h"

namespace softmpc {
namespace {

using std::chrono::milliseconds;
using testing::Random;

constexpr Nanoseconds kStart = milliseconds(5000);

TEST(PlanClock, AWholeStepIsOneStepAndAFirstTimeToo) {
  const PlanClock clock(0.02, 4, Reading::linear);
  PlanTime time;
  for (int tick = 0; tick < 100; ++tick) {
    const Move move = clock.until(kStart + tick * milliseconds(20), time);
    EXPECT_EQ(move.whole, 1);
    EXPECT_EQ(move.fraction, 0);
    EXPECT_FALSE(move.cold);
  }
  EXPECT_EQ(clock.until({}, time).whole, 1);  // no time: one step after the last
  EXPECT_EQ(clock.until(kStart + milliseconds(2020), time).whole, 1);
  EXPECT_EQ(clock.until(kStart + milliseconds(2080), time).whole, 3);
}

TEST(PlanClock, APlanThatLiesInThePastIsDrawnAnewAndTimeMayGoBack) {
  const PlanClock clock(0.02, 4, Reading::linear);
  PlanTime time;
  clock.until(kStart, time);
  EXPECT_TRUE(clock.until(kStart + milliseconds(101), time).cold);
  EXPECT_FALSE(clock.until(kStart + milliseconds(181), time).cold);  // 4 steps after that
  const Move back = clock.until(kStart, time);
  EXPECT_EQ(back.whole, 0);
  EXPECT_EQ(back.fraction, 0);
  EXPECT_EQ(clock.until(kStart + milliseconds(20), time).whole, 1);  // from the new time on
}

// Whatever the ticks, the moves add up to the time that passed, within the 5 % that wait.
TEST(PlanClock, MovesAddUpToTheTimeThatPassed) {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    const double dt = random.real(0.001, 0.1);
    const Reading reading = random.coin() ? Reading::linear : Reading::hold;
    const PlanClock clock(dt, 8, reading);
    PlanTime at;
    Nanoseconds time = kStart;
    clock.until(time, at);
    double moved = 0;
    const double longest = random.real(0.02, 3);
    for (int tick = 0; tick < 300; ++tick) {
      time += Nanoseconds(static_cast<std::int64_t>(random.real(0, longest) * dt * 1e9));
      const Move move = clock.until(time, at);
      ASSERT_FALSE(move.cold);
      moved += move.whole + move.fraction;
      const double passed = static_cast<double>((time - kStart).count()) * 1e-9 / dt;
      const double late = reading == Reading::hold ? 1.0 : 0.05;
      ASSERT_GE(passed - moved, -0.0501);
      ASSERT_LE(passed - moved, late + 1e-4);
      if (reading == Reading::hold) {
        ASSERT_EQ(move.fraction, 0);
      }
    }
  }
}

/// The plan as a function of time in steps, straight from the definition.
double read(const std::vector<float>& plan, int nu, int i, double t) {
  const auto knot = [&](std::size_t k) {
    const std::size_t at = k * nu + i;
    return at < plan.size() ? static_cast<double>(plan[at]) : 0.0;
  };
  const auto k = static_cast<std::size_t>(t);
  return knot(k) + (t - static_cast<double>(k)) * (knot(k + 1) - knot(k));
}

TEST(PlanClock, AMovedPlanIsThePlanReadLater) {
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    const int horizon = random.whole(1, 9), nu = random.whole(1, 4);
    const auto before = random.normals(static_cast<std::size_t>(horizon + 1) * nu);
    const Move move = {.whole = random.whole(0, horizon + 2),
                       .fraction = random.coin() ? random.real(0, 1) : 0.0};
    std::vector<float> plan = before;
    move_plan(plan, nu, move);
    for (int t = 0; t <= horizon; ++t)
      for (int i = 0; i < nu; ++i)
        EXPECT_NEAR(plan[t * nu + i], read(before, nu, i, t + move.whole + move.fraction), 1e-6);
  }
}

}  // namespace
}  // namespace softmpc
