// SPDX-License-Identifier: Apache-2.0
// Tests for tasks/mujoco_env.cpp: recorded trajectories, resets, time limit, saved states, bad
// input.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>

#include <unistd.h>

#include "golden.h"
#include "softmpc/task.h"

namespace softmpc::tasks {
namespace {

using Vector = std::vector<double>;

std::vector<float> some_action(const TaskSpec& spec, int step) {
  std::vector<float> action;
  for (int i = 0; i < spec.nu; ++i) {
    const auto j = static_cast<std::size_t>(i);
    action.push_back(spec.action_high[j] * std::sin(0.7f * static_cast<float>(step + 3 * i)));
  }
  return action;
}

class Simulated : public testing::TestWithParam<std::string> {};

void replay(const nlohmann::json& file, const nlohmann::json& episode, bool positions) {
  const auto& recorded =
      positions && episode.contains("with_positions") ? episode.at("with_positions") : episode;
  const Task& task = find_task(file.at("task").get<std::string>());
  const auto env = task.make_environment({.positions = positions});
  Vector observation(static_cast<std::size_t>(env->observation_size()));
  env->reset_to(episode.at("qpos0").get<Vector>(), episode.at("qvel0").get<Vector>(), observation);

  const auto compare = [&](std::size_t t) {
    const Vector expected = recorded.at("observations").at(t).get<Vector>();
    ASSERT_EQ(observation.size(), expected.size());
    const Tolerance tolerance = tolerance_at(file, t);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      ASSERT_TRUE(tolerance.holds(observation[i], expected[i]))
          << "observation[" << i << "] at step " << t << ": " << observation[i] << " against "
          << expected[i];
    }
  };
  compare(0);
  const std::size_t steps = compared_steps(file, episode);
  for (std::size_t t = 0; t < steps; ++t) {
    const Transition got =
        env->step(episode.at("actions").at(t).get<std::vector<float>>(), observation);
    compare(t + 1);
    const double reward = recorded.at("rewards").at(t);
    ASSERT_TRUE(tolerance_at(file, t).holds(got.reward, reward))
        << "reward of step " << t << ": " << got.reward << " against " << reward;
    ASSERT_EQ(got.terminated, recorded.at("terminated").at(t).get<bool>()) << "step " << t;
  }
  if (steps != episode.at("actions").size()) return;
  Vector qpos, qvel;
  env->read_state(qpos, qvel);
  const Tolerance tolerance = tolerance_at(file, steps);
  const Vector qpos_end = episode.at("qpos_end"), qvel_end = episode.at("qvel_end");
  for (std::size_t i = 0; i < qpos.size(); ++i) EXPECT_TRUE(tolerance.holds(qpos[i], qpos_end[i]));
  for (std::size_t i = 0; i < qvel.size(); ++i) EXPECT_TRUE(tolerance.holds(qvel[i], qvel_end[i]));
}

TEST_P(Simulated, ReplaysRecordedEpisodes) {
  const nlohmann::json file = read_golden("env/" + GetParam() + ".json");
  int episodes = 0;
  for (const auto& episode : file.at("episodes")) {
    SCOPED_TRACE("episode " + std::to_string(episodes++));
    replay(file, episode, false);
    if (episode.contains("with_positions")) replay(file, episode, true);
  }
  EXPECT_GT(episodes, 0);
}

TEST_P(Simulated, SpecificationFitsRecordingAndEnvironment) {
  const nlohmann::json file = read_golden("env/" + GetParam() + ".json");
  const Task& task = find_task(GetParam());
  for (const bool positions : {false, true}) {
    const TaskSpec spec = task.spec({.positions = positions});
    const auto env = task.make_environment({.positions = positions});
    EXPECT_EQ(spec.name, GetParam());
    EXPECT_EQ(env->observation_size(), spec.nx);
    EXPECT_EQ(env->action_size(), spec.nu);
    EXPECT_EQ(spec.action_low, file.at("action_low").get<std::vector<float>>());
    EXPECT_EQ(spec.action_high, file.at("action_high").get<std::vector<float>>());
    EXPECT_NEAR(spec.dt, file.at("dt").get<double>(), 1e-15);
    EXPECT_EQ(spec.analytic_reward, task.make_reward({.positions = positions}) != nullptr);
    if (!positions) {
      EXPECT_EQ(spec.nx, file.at("observation_size").get<int>());
    }
  }
}

TEST_P(Simulated, ContinuesBitForBitFromASavedState) {
  const Task& task = find_task(GetParam());
  const TaskSpec spec = task.spec({});
  const auto first = task.make_environment({});
  Vector a(static_cast<std::size_t>(spec.nx)), b = a;
  first->reset(11, a);
  int step = 0;
  for (; step < 17; ++step) first->step(some_action(spec, step), a);
  const auto second = task.make_environment({});
  second->load(first->save());
  for (; step < 60; ++step) {
    const Transition x = first->step(some_action(spec, step), a);
    const Transition y = second->step(some_action(spec, step), b);
    ASSERT_EQ(a, b) << "step " << step;
    ASSERT_EQ(x.reward, y.reward) << "step " << step;
    ASSERT_EQ(x.terminated, y.terminated);
    ASSERT_EQ(x.truncated, y.truncated);
  }
  EXPECT_EQ(first->save(), second->save());
}

bool clips(const std::string& task) {
  return task == "InvertedDoublePendulum" || task == "Hopper" || task == "Walker2d";
}

TEST_P(Simulated, ClippedVelocitiesAreTheOthersWithinTen) {
  const Task& task = find_task(GetParam());
  const TaskSpec spec = task.spec({});
  const auto clipped = task.make_environment({}),
             whole = task.make_environment({.clip_velocities = false});
  Vector a(static_cast<std::size_t>(spec.nx)), b = a;
  Vector positions, velocities;
  clipped->reset(3, a);
  clipped->read_state(positions, velocities);
  velocities[0] = 12;
  clipped->reset_to(positions, velocities, a);
  whole->reset_to(positions, velocities, b);
  bool beyond = false;
  for (int step = 0; step < 30; ++step) {
    for (std::size_t i = 0; i < a.size(); ++i) {
      beyond = beyond || a[i] != b[i];
      ASSERT_EQ(a[i], clips(GetParam()) && a[i] != b[i] ? std::clamp(b[i], -10.0, 10.0) : b[i])
          << "entry " << i << " step " << step;
    }
    const Transition x = clipped->step(some_action(spec, step), a);
    const Transition y = whole->step(some_action(spec, step), b);
    ASSERT_EQ(x.reward, y.reward);
  }
  EXPECT_EQ(beyond, clips(GetParam()));
}

TEST_P(Simulated, WithoutBodiesTheFirstEntriesRemain) {
  const Task& task = find_task(GetParam());
  const std::map<std::string, int> expected = {
      {"Ant", 27}, {"Humanoid", 45}, {"HumanoidStandup", 45}};
  const auto sizes = expected.find(GetParam());
  for (const bool positions : {true, false}) {
    const TaskSpec spec = task.spec({.positions = positions}),
                   less = task.spec({.positions = positions, .bodies = false});
    if (sizes == expected.end()) {
      EXPECT_EQ(less.nx, spec.nx);
    } else {
      EXPECT_EQ(less.nx, sizes->second + (positions ? 2 : 0));
    }
    EXPECT_EQ(less.analytic_reward, spec.analytic_reward && GetParam() != "HumanoidStandup");
    const auto all = task.make_environment({.positions = positions}),
               few = task.make_environment({.positions = positions, .bodies = false});
    Vector a(static_cast<std::size_t>(spec.nx)), b(static_cast<std::size_t>(less.nx));
    all->reset(5, a);
    few->reset(5, b);
    for (int step = 0; step < 20; ++step) {
      ASSERT_TRUE(std::equal(b.begin(), b.end(), a.begin())) << "step " << step;
      const Transition x = all->step(some_action(spec, step), a);
      const Transition y = few->step(some_action(spec, step), b);
      ASSERT_EQ(x.reward, y.reward);
      ASSERT_EQ(x.terminated, y.terminated);
    }
  }
}

TEST_P(Simulated, StartIsAFunctionOfTheSeed) {
  const Task& task = find_task(GetParam());
  const auto env = task.make_environment({});
  const auto other = task.make_environment({});
  Vector a(static_cast<std::size_t>(env->observation_size())), b = a, c = a;
  env->reset(5, a);
  env->step(some_action(task.spec({}), 1), c);
  env->reset(5, b);
  EXPECT_EQ(a, b);
  other->reset(5, b);
  EXPECT_EQ(a, b);
  env->reset(6, c);
  EXPECT_NE(a, c);
}

TEST_P(Simulated, RefusesBadInput) {
  const Task& task = find_task(GetParam());
  const TaskSpec spec = task.spec({});
  const auto env = task.make_environment({});
  Vector observation(static_cast<std::size_t>(spec.nx));
  std::vector<float> action = some_action(spec, 0);
  EXPECT_NE(message_of([&] { env->step(action, observation); }).find("before the first reset()"),
            std::string::npos);
  env->reset(1, observation);

  std::vector<float> longer = action;
  longer.push_back(0);
  EXPECT_EQ(message_of([&] { env->step(longer, observation); }),
            GetParam() + ": action has size " + std::to_string(spec.nu + 1) + ", must have " +
                std::to_string(spec.nu));
  action[0] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(message_of([&] { env->step(action, observation); }),
            GetParam() + ": action[0] is nan, must be finite");
  Vector small(observation.size() - 1);
  EXPECT_NE(message_of([&] { env->reset(1, small); }).find("observation has size"),
            std::string::npos);
  Vector qpos, qvel;
  env->read_state(qpos, qvel);
  qpos[0] = std::numeric_limits<double>::infinity();
  EXPECT_NE(message_of([&] { env->reset_to(qpos, qvel, observation); }).find("NaN or infinity"),
            std::string::npos);
  EXPECT_NE(message_of([&] { env->reset_to({}, qvel, observation); }).find("start positions"),
            std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Tasks, Simulated, testing::ValuesIn(simulated_tasks()), task_of);

TEST(MujocoEnvironment, RefusesDamagedStates) {
  const Task& task = find_task("Hopper");
  const auto env = task.make_environment({});
  Vector observation(12);
  env->reset(3, observation);
  const std::vector<std::byte> good = env->save();

  std::vector<std::byte> bad = good;
  bad[bad.size() / 2] ^= std::byte{1};
  EXPECT_EQ(message_of([&] { env->load(bad); }),
            "Hopper: saved environment state is corrupt: the checksum differs");
  bad = good;
  bad.pop_back();
  EXPECT_EQ(message_of([&] { env->load(bad); }),
            "Hopper: saved environment state is cut off or has bytes to spare");
  EXPECT_EQ(message_of([&] { env->load({}); }), "Hopper: saved environment state is too short");
  bad = good;
  bad[0] = std::byte{'x'};
  EXPECT_EQ(message_of([&] { env->load(bad); }),
            "Hopper: saved environment state is not a saved environment");
  for (const auto& other :
       {find_task("Walker2d").make_environment({}), task.make_environment({.positions = false}),
        task.make_environment({.clip_velocities = false}),
        task.make_environment({.bodies = false})}) {
    EXPECT_NE(message_of([&] { other->load(good); }).find("of another task, variant"),
              std::string::npos);
  }
  env->load(good);  // none of the failures has changed it
  EXPECT_EQ(env->save(), good);
}

TEST(MujocoEnvironment, TruncatesAtTheTimeLimit) {
  const Task& task = find_task("Reacher");
  Vector observation(10);
  const auto env = task.make_environment({});
  env->reset(1, observation);
  for (int t = 1; t <= 52; ++t) {
    const Transition result = env->step(std::vector<float>{0, 0}, observation);
    EXPECT_EQ(result.truncated, t >= 50) << t;
    EXPECT_FALSE(result.terminated);
  }
  const auto limited = task.make_environment({.time_limit = 3});
  EXPECT_EQ(task.spec({.time_limit = 3}).time_limit, 3);
  limited->reset(1, observation);
  for (int t = 1; t <= 3; ++t) {
    EXPECT_EQ(limited->step(std::vector<float>{0, 0}, observation).truncated, t == 3);
  }
  limited->reset(2, observation);
  EXPECT_FALSE(limited->step(std::vector<float>{0, 0}, observation).truncated);
}

TEST(MujocoEnvironment, TerminatesWithoutTruncation) {
  const auto env = find_task("InvertedPendulum").make_environment({});
  Vector observation(4);
  env->reset(1, observation);
  Transition result;
  int steps = 0;
  do {
    result = env->step(std::vector<float>{3}, observation);
    ++steps;
  } while (!result.terminated);
  EXPECT_FALSE(result.truncated);
  EXPECT_EQ(result.reward, 0);
  EXPECT_GT(std::abs(observation[1]), 0.2);
  EXPECT_LT(steps, 100);
}

TEST(MujocoEnvironment, CountsEpisodeLengthAcrossSavedStates) {
  const Task& task = find_task("InvertedDoublePendulum");
  Vector observation(9);
  const auto env = task.make_environment({.time_limit = 5});
  env->reset(1, observation);
  for (int t = 0; t < 4; ++t) env->step(std::vector<float>{0}, observation);
  const auto other = task.make_environment({.time_limit = 5});
  other->load(env->save());
  EXPECT_TRUE(other->step(std::vector<float>{0}, observation).truncated);
}

TEST(MujocoEnvironment, ReportsAnUnstableSimulation) {
  const auto folder =
      std::filesystem::temp_directory_path() / ("softmpc_unstable_" + std::to_string(::getpid()));
  std::filesystem::create_directory(folder);
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder);
  const auto env = find_task("Hopper").make_environment({});
  Vector observation(12);
  const Vector qpos = {0, 1.25, 0, 0, 0, 0}, qvel = {0, 0, 1e9, 1e9, -1e9, 1e9};
  testing::internal::CaptureStdout();
  const std::string message = message_of([&] {
    env->reset_to(qpos, qvel, observation);
    for (int t = 0; t < 50; ++t) env->step(std::vector<float>{1, 1, 1}, observation);
  });
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
  EXPECT_NE(message.find("Hopper: simulation became unstable at step "), std::string::npos)
      << message;
  EXPECT_TRUE(std::filesystem::is_empty(folder)) << "MuJoCo wrote a log file";
  std::filesystem::current_path(before);
  std::filesystem::remove_all(folder);
  env->reset(1, observation);  // and it goes on
  env->step(std::vector<float>{0, 0, 0}, observation);
}

}  // namespace
}  // namespace softmpc::tasks
