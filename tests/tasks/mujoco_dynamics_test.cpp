// SPDX-License-Identifier: Apache-2.0
// Tests for tasks/mujoco_dynamics.cpp: the simulator as a rollout's model.
#include <algorithm>
#include <cmath>
#include <limits>
#include <thread>

#include "golden.h"
#include "softmpc/task.h"

namespace softmpc::tasks {
namespace {

using Floats = std::vector<float>;
using Vector = std::vector<double>;

class Simulator : public testing::TestWithParam<std::string> {};

Floats columns_of(const Vector& lane) { return {lane.begin(), lane.end()}; }

/// Whether the observation hides a velocity beyond +-10.
bool clipped(const TaskOptions& options, const std::string& task, const Vector& observation) {
  if (!options.clip_velocities) return false;
  if (task != "InvertedDoublePendulum" && task != "Hopper" && task != "Walker2d") return false;
  return std::ranges::any_of(observation, [](double value) { return std::abs(value) == 10; });
}

// one model step from an observation is the environment's step from the state behind it
void step_beside(const std::string& name, const TaskOptions& options) {
  const Task& task = find_task(name);
  const TaskSpec spec = task.spec(options);
  const auto model = task.make_dynamics(options);
  const auto env = task.make_environment(options);
  EXPECT_EQ(model->members(), 1);
  Vector observation(static_cast<std::size_t>(spec.nx)), next = observation;
  env->reset(8, observation);
  for (int t = 0; t < 30; ++t) {
    if (clipped(options, name, observation)) env->reset(static_cast<std::uint64_t>(t), observation);
    Floats action;
    for (int i = 0; i < spec.nu; ++i) {
      action.push_back(0.3f * spec.action_high[0] * std::sin(static_cast<float>(t + i)));
    }
    env->step(action, next);
    const Floats x = columns_of(observation);
    Floats predicted(x.size());
    model->step(0, {x.data(), 1}, {action.data(), 1}, 1, {{predicted.data(), 1}, nullptr, nullptr},
                nullptr);
    for (std::size_t i = 0; i < predicted.size(); ++i) {
      // float32 in the observation, and contact forces amplify it
      ASSERT_NEAR(predicted[i], next[i], 2e-4 * (1 + std::abs(next[i])))
          << "entry " << i << " step " << t;
    }
    observation = next;
  }
}

TEST_P(Simulator, ModelStepsAsTheEnvironment) {
  step_beside(GetParam(), {});
  step_beside(GetParam(), {.clip_velocities = false});
}

TEST_P(Simulator, IsAFunctionOfStateAndActionFromAnyThread) {
  const Task& task = find_task(GetParam());
  const TaskSpec spec = task.spec({});
  const auto model = task.make_dynamics({});
  constexpr int lanes = 12;
  const auto nx = static_cast<std::size_t>(spec.nx), nu = static_cast<std::size_t>(spec.nu);
  Floats x(nx * lanes), a(nu * lanes), all(nx * lanes);
  for (int j = 0; j < lanes; ++j) {
    Vector observation(nx);
    task.make_environment({})->reset(static_cast<std::uint64_t>(j), observation);
    const auto lane = static_cast<std::size_t>(j);
    for (std::size_t i = 0; i < nx; ++i) {
      x[i * lanes + lane] = static_cast<float>(observation[i]);
    }
    for (std::size_t i = 0; i < nu; ++i) {
      a[i * lanes + lane] = 0.1f * static_cast<float>(j) - 0.5f;
    }
  }
  const auto step = [&](int first, int count, Floats& out) {
    model->step(0, {x.data() + first, lanes}, {a.data() + first, lanes}, count,
                {{out.data() + first, lanes}, nullptr, nullptr}, nullptr);
  };
  step(0, lanes, all);
  Floats parts(nx * lanes);
  std::vector<std::thread> threads;
  for (int first : {8, 0, 4}) {
    threads.emplace_back([&, first] { step(first, 4, parts); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(all, parts);
}

TEST_P(Simulator, BadLanesGiveNanAndSpareTheirNeighbours) {
  const Task& task = find_task(GetParam());
  const TaskSpec spec = task.spec({});
  const auto model = task.make_dynamics({});
  const auto nx = static_cast<std::size_t>(spec.nx), nu = static_cast<std::size_t>(spec.nu);
  Vector observation(nx);
  task.make_environment({})->reset(1, observation);
  Floats x(3 * nx), a(3 * nu, 0.0f), next(3 * nx);
  for (std::size_t i = 0; i < nx; ++i) {
    for (std::size_t j = 0; j < 3; ++j) x[3 * i + j] = static_cast<float>(observation[i]);
  }
  x[1] = std::numeric_limits<float>::quiet_NaN();
  model->step(0, {x.data(), 3}, {a.data(), 3}, 3, {{next.data(), 3}, nullptr, nullptr}, nullptr);
  for (std::size_t i = 0; i < nx; ++i) {
    EXPECT_TRUE(std::isfinite(next[3 * i]));
    EXPECT_TRUE(std::isnan(next[3 * i + 1]));
    EXPECT_EQ(next[3 * i], next[3 * i + 2]);
  }
}

INSTANTIATE_TEST_SUITE_P(Tasks, Simulator,
                         testing::Values("InvertedPendulum", "InvertedDoublePendulum", "Reacher",
                                         "Swimmer", "Hopper", "HalfCheetah", "Walker2d", "Ant",
                                         "HumanoidStandup"),
                         task_of);

TEST(MujocoDynamics, RefusesTasksWithHiddenState) {
  EXPECT_EQ(message_of([] { find_task("Pusher").make_dynamics({}); }),
            "Pusher: the simulator cannot be the dynamics model: the velocities of object and goal "
            "are not observed");
  EXPECT_THROW(find_task("Humanoid").make_dynamics({}), UsageError);
  EXPECT_EQ(message_of([] { find_task("Hopper").make_dynamics({.positions = false}); }),
            "Hopper: the simulator cannot be the dynamics model: without environment.positions the "
            "observation lacks the root position");
}

}  // namespace
}  // namespace softmpc::tasks
