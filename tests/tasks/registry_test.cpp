// SPDX-License-Identifier: Apache-2.0
// Tests for tasks/registry.cpp: names, lookup and what every registered task must keep to.
#include <algorithm>
#include <cmath>

#include "golden.h"
#include "softmpc/task.h"
#include "softmpc/task_rules.h"

namespace softmpc::tasks {
namespace {

TEST(Registry, ListsAllTasksInOrder) {
  const std::vector<std::string> names = task_names();
  std::vector<std::string> expected = simulated_tasks();
  expected.insert(expected.end(), {"lq", "pendulum"});
  ASSERT_GE(names.size(), expected.size());
  EXPECT_TRUE(std::equal(expected.begin(), expected.end(), names.begin()));
}

TEST(Registry, NamesTheNearestTask) {
  EXPECT_EQ(message_of([] { find_task("Hoper"); }),
            "unknown task 'Hoper', nearest is 'Hopper'; `softmpc tasks` lists all");
  EXPECT_NE(message_of([] { find_task("halfcheeta"); }).find("'HalfCheetah'"), std::string::npos);
  EXPECT_THROW(find_task(""), UsageError);
}

TEST(Registry, RefusesATakenName) {
  EXPECT_EQ(message_of([] { register_task(find_task("lq")); }),
            "task 'lq' is registered already, names must differ");
}

// Robots judge rollouts by what training judged them by.
TEST(Registry, TheRulesWithoutSimulatorAreTheTasks) {
  for (const std::string& name : task_names()) {
    for (const EnvironmentConfig& variant :
         {EnvironmentConfig{}, EnvironmentConfig{.positions = false},
          EnvironmentConfig{.bodies = false},
          EnvironmentConfig{.positions = false, .bodies = false}}) {
      SCOPED_TRACE(name);
      const Task& task = find_task(name);
      const auto same = [](const auto& a, const auto& b) {
        ASSERT_EQ(a != nullptr, b != nullptr);
        if (!a) return;
        EXPECT_EQ(a->device_rules().type, b->device_rules().type);
        EXPECT_EQ(a->device_rules().source, b->device_rules().source);
        EXPECT_EQ(a->has_termination(), b->has_termination());
      };
      same(task.make_reward(task_options(variant)), make_task_reward(name, variant));
      same(task.make_termination(task_options(variant)), make_task_termination(name, variant));
    }
  }
}

TEST(Registry, SpecificationsAreConsistent) {
  for (const std::string& name : task_names()) {
    for (const bool positions : {false, true}) {
      SCOPED_TRACE(name);
      const TaskOptions options{.positions = positions};
      const Task& task = find_task(name);
      const TaskSpec spec = task.spec(options);
      const auto env = task.make_environment(options);
      EXPECT_EQ(spec.name, name);
      EXPECT_EQ(task.name(), name);
      EXPECT_FALSE(spec.summary.empty());
      EXPECT_EQ(spec.nx, env->observation_size());
      EXPECT_EQ(spec.nu, env->action_size());
      ASSERT_EQ(spec.action_low.size(), static_cast<std::size_t>(spec.nu));
      ASSERT_EQ(spec.action_high.size(), static_cast<std::size_t>(spec.nu));
      for (std::size_t i = 0; i < spec.action_low.size(); ++i) {
        EXPECT_LT(spec.action_low[i], spec.action_high[i]);
      }
      EXPECT_GT(spec.dt, 0);
      EXPECT_GT(spec.time_limit, 0);
      const auto reward = task.make_reward(options);
      const auto termination = task.make_termination(options);
      EXPECT_EQ(spec.analytic_reward, reward != nullptr);
      if (reward) {
        EXPECT_EQ(reward->has_termination(), spec.has_termination);
        EXPECT_EQ(termination, nullptr);
      } else {
        EXPECT_EQ(termination != nullptr, spec.has_termination && spec.analytic_termination);
      }
    }
  }
}

TEST(Registry, PositionsChangeTheObservation) {
  const std::vector<std::pair<std::string, int>> hidden = {{"Hopper", 1},   {"HalfCheetah", 1},
                                                           {"Walker2d", 1}, {"Swimmer", 2},
                                                           {"Humanoid", 2}, {"HumanoidStandup", 2},
                                                           {"Ant", 2 - 78}, {"InvertedPendulum", 0},
                                                           {"Pusher", 0},   {"lq", 0}};
  for (const auto& [name, entries] : hidden) {
    const Task& task = find_task(name);
    EXPECT_EQ(task.spec({.positions = true}).nx - task.spec({.positions = false}).nx, entries)
        << name;
  }
}

}  // namespace
}  // namespace softmpc::tasks
