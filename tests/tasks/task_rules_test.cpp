// SPDX-License-Identifier: Apache-2.0
// Tests for task_rules.cpp, in a program without the simulator. registry_test.cpp compares what is
// made here with what the tasks themselves say.
#include "softmpc/task_rules.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "core/random_models.h"
#include "softmpc/controller.h"
#include "softmpc/error.h"

namespace softmpc {
namespace {

using namespace testing;

TEST(TaskRules, RewardsAndTerminationsByVariant) {
  struct Row {
    const char* task;
    bool with, without, ends;  // analytic reward with and without positions; terminates
  };
  const Row rows[] = {{"InvertedPendulum", true, true, true},
                      {"InvertedDoublePendulum", true, true, true},
                      {"Reacher", true, true, false},
                      {"Pusher", true, true, false},
                      {"Swimmer", true, false, false},
                      {"Hopper", true, false, true},
                      {"HalfCheetah", true, false, false},
                      {"Walker2d", true, false, true},
                      {"Ant", true, false, true},
                      {"Humanoid", false, false, true},
                      {"HumanoidStandup", true, true, false},
                      {"lq", true, true, false},
                      {"pendulum", true, true, false}};
  for (const Row& row : rows) {
    SCOPED_TRACE(row.task);
    EXPECT_TRUE(has_task_rules(row.task));
    for (const bool positions : {true, false}) {
      const EnvironmentConfig variant{.positions = positions};
      const auto reward = make_task_reward(row.task, variant);
      const auto end = make_task_termination(row.task, variant);
      EXPECT_EQ(reward != nullptr, positions ? row.with : row.without);
      EXPECT_EQ(end != nullptr, row.ends && !reward);
      if (reward) {
        EXPECT_EQ(reward->has_termination(), row.ends);
      }
      for (const RewardModel* model : {reward.get(), end.get()}) {
        if (model == nullptr) continue;
        EXPECT_NE(model->device_rules().source.find("struct"), std::string::npos);
        EXPECT_EQ(model->device_rules().source.find("#include \"../"), std::string::npos);
      }
    }
  }
  EXPECT_EQ(make_task_reward("HumanoidStandup", {.bodies = false}), nullptr);
}

TEST(TaskRules, AnUnknownTaskIsNamedWithTheNearest) {
  EXPECT_FALSE(has_task_rules("Hoper"));
  for (const auto make : {&make_task_reward, &make_task_termination}) {
    try {
      make("Hoper", {});
      FAIL() << "nothing was thrown";
    } catch (const UsageError& error) {
      EXPECT_STREQ(error.what(), "task 'Hoper' is not built in, nearest is 'Hopper'");
    }
  }
}

// Standing still a hopper earns 1 a step; a lower one has fallen.
TEST(TaskRules, AHopperIsJudged) {
  const auto reward = make_task_reward("Hopper", {});
  std::vector<float> x(12), a(3);
  x[1] = 1.25f;
  float value = 0;
  std::uint8_t ended = 2;
  const auto judge = [&] {
    reward->reward({x.data(), 1}, {a.data(), 1}, {x.data(), 1}, 1, &value);
    reward->terminated({x.data(), 1}, 1, &ended);
  };
  judge();
  EXPECT_EQ(value, 1);
  EXPECT_EQ(ended, 0);
  x[1] = 0.5f;
  judge();
  EXPECT_EQ(value, 0);
  EXPECT_EQ(ended, 1);
}

TEST(TaskRules, ReadNothingBeyondABundlesState) {
  Bundle bundle;
  bundle.task = "Hopper";
  bundle.nx = 11;
  bundle.nu = 3;
  try {
    make_rollout_reward(bundle);
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "the rules of Hopper read nx 12, nu 3; the bundle has nx 11, nu 3");
  }
}

TEST(TaskRules, ABundleAndItsTasksRewardAreAController) {
  Random random(3);
  const SmallModels nets(random, 12, 3, 2, 16);
  Bundle bundle;
  bundle.task = "Hopper";
  bundle.nx = nets.nx;
  bundle.nu = nets.nu;
  bundle.action_low = nets.low;
  bundle.action_high = nets.high;
  bundle.dt = 0.008;
  bundle.members = nets.member_weights;
  bundle.critics = nets.critic_weights;
  const auto reward = make_rollout_reward(bundle);
  Controller controller(bundle, reward.get());
  std::vector<float> state(12);
  state[1] = 1.25f;
  EXPECT_EQ(controller.plan({.observation = state}).status, PlanStatus::ok);

  bundle.environment.positions = false;  // 11 entries, and only the end of an episode is known
  std::uint8_t ended = 0;
  make_rollout_reward(bundle)->terminated({state.data(), 1}, 1, &ended);
  EXPECT_EQ(ended, 1);
  bundle.task = "my robot";
  EXPECT_EQ(make_rollout_reward(bundle), nullptr);
}

}  // namespace
}  // namespace softmpc
