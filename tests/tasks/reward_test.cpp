// SPDX-License-Identifier: Apache-2.0
// Tests for the rollout rules tasks/*/*.h: rewards and terminations of recorded transitions.
#include <algorithm>
#include <cmath>
#include <random>

#include "golden.h"
#include "inverted_double_pendulum/inverted_double_pendulum.h"
#include "softmpc/task.h"
#include "softmpc/types.h"

namespace softmpc::tasks {
namespace {

using Floats = std::vector<float>;

/// Largest difference between a rollout's reward and the environment's, rounding apart.
double stage_difference(const std::string& task, bool fallen) {
  // tip and torso are read by the environment at its last integrator stage; a falling tip is fast
  if (task == "InvertedDoublePendulum") return fallen ? 1e-2 : 5e-4;
  if (task == "Ant") return 5e-2;
  return 0;
}

/// What float32 rounding of x and x' does to (x' - x) / dt, and of the rest.
double rounding(const TaskSpec& spec, const Floats& x, const Floats& next, double reward) {
  const double position = std::max(std::abs(x[0]), std::abs(next[0]));
  return 6e-8 * 2 * position / spec.dt + 2e-6 * (1 + std::abs(reward));
}

/// Whether the observation hides a velocity beyond +-10 that the environment's reward sees.
bool clipped(const std::string& task, const Floats& next) {
  using O = InvertedDoublePendulum;
  return task == "InvertedDoublePendulum" &&
         std::max(std::abs(next[O::angular_velocity1]), std::abs(next[O::angular_velocity2])) == 10;
}

class Rewards : public testing::TestWithParam<std::string> {};

TEST_P(Rewards, MatchTheRecordedEnvironment) {
  const nlohmann::json file = read_golden("env/" + GetParam() + ".json");
  const Task& task = find_task(GetParam());
  for (const bool positions : {false, true}) {
    const TaskSpec spec = task.spec({.positions = positions});
    const auto model = task.make_reward({.positions = positions});
    ASSERT_EQ(model != nullptr, spec.analytic_reward);
    if (!model) continue;
    EXPECT_EQ(model->has_termination(), spec.has_termination);
    int compared = 0;
    for (const auto& episode : file.at("episodes")) {
      if (positions && !file.at("with_positions_options").is_null() &&
          !episode.contains("with_positions")) {
        continue;
      }
      const auto& recorded =
          positions && episode.contains("with_positions") ? episode.at("with_positions") : episode;
      for (std::size_t t = 0; t < episode.at("actions").size(); ++t) {
        const Floats x = recorded.at("observations").at(t);
        const Floats next = recorded.at("observations").at(t + 1);
        const Floats action = episode.at("actions").at(t);
        if (static_cast<int>(x.size()) != spec.nx || clipped(GetParam(), next)) continue;
        const double expected = recorded.at("rewards").at(t);
        float reward = 0;
        model->reward({x.data(), 1}, {action.data(), 1}, {next.data(), 1}, 1, &reward);
        const bool ended = recorded.at("terminated").at(t);
        ASSERT_NEAR(reward, expected,
                    stage_difference(GetParam(), ended) + rounding(spec, x, next, expected))
            << "step " << t;
        if (model->has_termination()) {
          std::uint8_t end = 2;
          model->terminated({next.data(), 1}, 1, &end);
          ASSERT_EQ(end == 1, ended) << "step " << t;
        }
        ++compared;
      }
    }
    // HumanoidStandup is not recorded with positions
    if (GetParam() != "HumanoidStandup" || !positions) {
      EXPECT_GT(compared, 50);
    }
  }
}

TEST_P(Rewards, TerminationIsKnownWhereTheRewardIsNot) {
  const nlohmann::json file = read_golden("env/" + GetParam() + ".json");
  const Task& task = find_task(GetParam());
  const TaskOptions options{.positions = false};
  const TaskSpec spec = task.spec(options);
  const auto model = task.make_termination(options);
  EXPECT_EQ(model != nullptr, spec.has_termination && !spec.analytic_reward);
  if (!model) return;
  ASSERT_TRUE(model->has_termination());
  int ends = 0;
  for (const auto& episode : file.at("episodes")) {
    for (std::size_t t = 0; t < episode.at("terminated").size(); ++t) {
      const Floats next = episode.at("observations").at(t + 1);
      std::uint8_t ended = 2;
      model->terminated({next.data(), 1}, 1, &ended);
      ASSERT_EQ(ended == 1, episode.at("terminated").at(t).get<bool>()) << "step " << t;
      ends += ended;
    }
  }
  EXPECT_GT(ends, 0);
}

INSTANTIATE_TEST_SUITE_P(Tasks, Rewards, testing::ValuesIn(simulated_tasks()), task_of);

TEST(RewardModel, LanesDoNotDependOnTheirPlace) {
  const Task& task = find_task("Hopper");
  const auto model = task.make_reward({});
  constexpr int lanes = 7, stride = 9, nx = 12, nu = 3;
  std::mt19937 random(4);
  std::normal_distribution<float> normal(0, 0.3f);
  Floats x(nx * stride), a(nu * stride), next(nx * stride);
  for (Floats* block : {&x, &a, &next}) {
    for (float& value : *block) value = normal(random);
  }
  for (int j = 0; j < lanes; ++j) next[stride + j] += 0.7f;  // about half of them upright
  Floats rewards(lanes);
  std::vector<std::uint8_t> ended(lanes);
  model->reward({x.data(), stride}, {a.data(), stride}, {next.data(), stride}, lanes,
                rewards.data());
  model->terminated({next.data(), stride}, lanes, ended.data());
  for (int j = 0; j < lanes; ++j) {
    float alone = 0;
    std::uint8_t end = 0;
    model->reward({x.data() + j, stride}, {a.data() + j, stride}, {next.data() + j, stride}, 1,
                  &alone);
    model->terminated({next.data() + j, stride}, 1, &end);
    EXPECT_EQ(rewards[static_cast<std::size_t>(j)], alone);
    EXPECT_EQ(ended[static_cast<std::size_t>(j)], end);
  }
}

TEST(RewardModel, NanIsUnhealthy) {
  const float nan = std::nanf("");
  for (const std::string name : {"InvertedPendulum", "Hopper", "Walker2d", "Ant"}) {
    const Task& task = find_task(name);
    const auto model = task.make_reward({});
    const Floats next(static_cast<std::size_t>(task.spec({}).nx), nan);
    std::uint8_t ended = 0;
    model->terminated({next.data(), 1}, 1, &ended);
    EXPECT_EQ(ended, 1) << name;
  }
}

// The tip from sines and cosines that need not be of unit length, against atan2 in double.
TEST(InvertedDoublePendulumRules, TipAgreesWithAngles) {
  std::mt19937 random(2);
  std::uniform_real_distribution<float> uniform(-1.3f, 1.3f);
  double worst = 0;
  const auto compare = [&worst](const Floats& o) {
    const double s =
        std::atan2(double{o[1]}, double{o[3]}) + std::atan2(double{o[2]}, double{o[4]});
    const double x = o[0] + 0.6 * o[1] + 0.6 * std::sin(s), y = 0.6 * o[3] + 0.6 * std::cos(s);
    float tip_x, tip_height;
    InvertedDoublePendulum::tip(o, tip_x, tip_height);
    worst = std::max({worst, std::abs(tip_x - x), std::abs(tip_height - y)});
  };
  for (int i = 0; i < 20000; ++i) {
    Floats o(9);
    for (float& value : o) value = uniform(random);
    compare(o);
  }
  compare({0, 0, 0, 0, 0, 0, 0, 0, 0});
  compare({0.1f, 0, 1, -1, 0, 0, 0, 0, 0});
  EXPECT_LT(worst, 1e-6);
}

}  // namespace
}  // namespace softmpc::tasks
