// SPDX-License-Identifier: Apache-2.0
// Tests for tasks/registry.cpp: names, lookup and what every registered task must keep to.
#include <algorithm>
#include <cmath>

#include "golden.h"
#include "softmpc/task.h"

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
