// SPDX-License-Identifier: Apache-2.0
// Calls of a control loop under the real-time sanitizer, which ends the program at an allocation or
// a lock within one that is SOFTMPC_NONBLOCKING; and that it does. Built with preset rtsan alone.
#include <cmath>
#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "control/controllers.h"
#include "softmpc/runner.h"

namespace softmpc {
namespace {

using namespace testing;

struct Realtime : SmallController {
  /// A tick of each kind, but those in which a user's model fails: an exception allocates.
  void play(Controller& controller, Prepared& prepared) const {
    const std::vector<float> bad(4, std::nanf(""));
    for (int tick = 0; tick < 60; ++tick) {
      const auto x = tick % 7 == 6 ? bad : observation(tick);
      const auto deadline = tick % 3 == 0
                                ? no_deadline
                                : SolveBudget::Clock::now() + std::chrono::microseconds(50 * tick);
      controller.plan(
          {.observation = x, .state_time = kStart + tick * milliseconds(73), .deadline = deadline});
      if (tick % 10 == 9) controller.swap(prepared);
    }
  }
};

TEST_F(Realtime, PlanAndSwapNeitherAllocateNorLock) {
  for (const bool sees_all : {false, true}) {
    ControllerOptions options = {.max_rate = {3, 3}, .command_delay = milliseconds(150)};
    options.want_predicted = sees_all;
    if (sees_all)
      options.validate = [](std::span<const float>, const Plan&) { return Verdict::send; };
    Controller controller = make(options);
    Prepared prepared(controller, bundle);
    play(controller, prepared);
    EXPECT_EQ(controller.statistics().plans, 60u);
  }
}

TEST_F(Realtime, ARunnersCallsNeitherAllocateNorLock) {
  Runner runner(make(), {.trigger = Trigger::period, .period = milliseconds(1)});
  std::vector<float> action(2);
  for (int tick = 1; tick <= 200; ++tick) {
    runner.submit(observation(tick), kStart + tick * milliseconds(1));
    runner.command_at(kStart + tick * milliseconds(1), action);
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  EXPECT_GT(runner.statistics().plans, 0u);
}

/// A reward that allocates while a plan is made.
struct Careless final : RewardModel {
  bool careless = false;
  void reward(ConstColumns, ConstColumns a, ConstColumns, int count, float* out) const override {
    if (careless) std::make_unique<std::vector<float>>(count)->at(0) = 1;
    for (int j = 0; j < count; ++j) out[j] = a[0][j];
  }
};

TEST_F(Realtime, APlantedAllocationEndsTheProgram) {
  Careless reward;
  Controller controller(bundle, &reward);
  const auto x = observation(1);
  controller.plan(PlanRequest{.observation = x});
  reward.careless = true;
  EXPECT_DEATH(controller.plan(PlanRequest{.observation = x}), "RealtimeSanitizer.*malloc|new");
}

}  // namespace
}  // namespace softmpc
