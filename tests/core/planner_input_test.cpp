// SPDX-License-Identifier: Apache-2.0
// Tests planner.h: what creation and solve() refuse, and what shift() and draw() do.
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "random_models.h"
#include "softmpc/error.h"
#include "softmpc/planner.h"

namespace softmpc {
namespace {

using testing::Buffers;
using testing::Random;
using testing::SmallModels;

/// Runs f, which must throw E with `part` in its text.
template <class E, class F>
void expect_refused(const F& f, const std::string& part) {
  try {
    f();
    ADD_FAILURE() << "nothing thrown, expected a text with '" << part << "'";
  } catch (const E& error) {
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

const ProblemShape kShape = {3, 2, {-1, -1}, {1, 1}, 2};

void expect_bad_config(const std::function<void(PlannerConfig&)>& change, const std::string& part) {
  PlannerConfig config;
  change(config);
  expect_refused<UsageError>([&] { make_planner(config, kShape, {}); }, part);
}

void expect_bad_shape(const std::function<void(ProblemShape&)>& change, const std::string& part) {
  ProblemShape shape = kShape;
  change(shape);
  expect_refused<UsageError>([&] { make_planner({}, shape, {}); }, part);
}

TEST(PlannerConfigRules, EachIsRefusedByName) {
  const double nan = std::nan(""), inf = std::numeric_limits<double>::infinity();
  expect_bad_config([](auto& c) { c.rollouts = 0; }, "rollouts");
  expect_bad_config([](auto& c) { c.rollouts = 1 << 30; }, "rollouts");
  expect_bad_config([](auto& c) { c.horizon = 0; }, "horizon");
  expect_bad_config([](auto& c) { c.horizon = 4096; }, "horizon");
  expect_bad_config([](auto& c) { c.iterations = 0; }, "iterations");
  expect_bad_config([](auto& c) { c.iterations = 129; }, "iterations");
  for (double bad : {0.0, -1.0, nan, inf})
    expect_bad_config([bad](auto& c) { c.temperature = bad; }, "temperature");
  for (double bad : {0.0, -0.1, 1.01, nan})
    expect_bad_config([bad](auto& c) { c.gamma = bad; }, "gamma");
  for (double bad : {0.0, -1.0, nan, inf})
    expect_bad_config([bad](auto& c) { c.variance = {bad}; }, "variance");
  expect_bad_config([](auto& c) { c.variance = {1, 1, 1}; }, "variance has 3");
  expect_bad_config([](auto& c) { c.variance = {}; }, "variance has 0");
  expect_bad_config([](auto& c) { c.particles = 3; }, "particles 3 must divide rollouts, 200");
  expect_bad_config([](auto& c) { c.particles = 4; }, "need member_draw");
}

TEST(PlannerShapeRules, EachIsRefusedByName) {
  expect_bad_shape([](auto& s) { s.nx = 0; }, "nx");
  expect_bad_shape([](auto& s) { s.nu = 0; }, "nu");
  expect_bad_shape([](auto& s) { s.max_problems = 0; }, "max_problems");
  expect_bad_shape([](auto& s) { s.action_low = {-1}; }, "bounds");
  expect_bad_shape([](auto& s) { s.action_high[1] = -2; }, "action 1");
  expect_bad_shape([](auto& s) { s.action_low[0] = std::nanf(""); }, "action 0");
  expect_bad_shape([](auto& s) { s.action_low[1] = std::numeric_limits<float>::infinity(); },
                   "action 1");
}

TEST(PlannerShapeRules, EndlessBoundsAreForTheGaussianPriorWithoutAPolicy) {
  ProblemShape shape = kShape;
  shape.action_high[1] = std::numeric_limits<float>::infinity();
  Random random{3};
  const SmallModels nets{random, shape.nx, shape.nu, 2, 8};
  EXPECT_NO_THROW(make_planner({}, shape, nets.models()));
  PlannerConfig config;
  config.prior = Prior::uniform;
  expect_refused<UsageError>([&] { make_planner(config, shape, {}); },
                             "action 1 has the bounds -1..inf; planner.prior uniform");
  config = {};
  config.control_mode = ControlMode::policy_residual;
  expect_refused<UsageError>([&] { make_planner(config, shape, {}); },
                             "action 1 has the bounds -1..inf; planner.control_mode");
}

TEST(PlannerShapeRules, TheNeutralActionIsInTheBox) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const ProblemShape shape = {1,
                              8,
                              {-1, 0, 0.5f, -3, 2, -kInfinity, 1, -kInfinity},
                              {9, 1, 3, -1, 2, kInfinity, kInfinity, -1},
                              1};
  EXPECT_EQ(neutral_action({}, shape), (std::vector<float>{0, 0.5f, 1.75f, -2, 2, 0, 1, -1}));
  PlannerConfig config;
  config.neutral = {0.25};
  EXPECT_EQ(neutral_action(config, kShape), (std::vector<float>{0.25f, 0.25f}));
  config.neutral = {0.25, -0.5};
  EXPECT_EQ(neutral_action(config, kShape), (std::vector<float>{0.25f, -0.5f}));
  expect_bad_config([](auto& c) { c.neutral = {0, 1.5}; }, "planner.neutral 1.5");
  expect_bad_config([](auto& c) { c.neutral = {0, 0, 0}; }, "neutral has 3");
  expect_bad_config([](auto& c) { c.neutral = {std::nan("")}; }, "planner.neutral nan");
}

struct PlannerInput : ::testing::Test {
  Random random{3};
  SmallModels nets{random, 3, 2, 2, 8};
  PlannerConfig config;
  PlannerInput() {
    config.rollouts = 8;
    config.horizon = 3;
  }

  void expect_bad(const std::function<void(PlanBatch&)>& change, const std::string& part) {
    Buffers buffers(2, nets.nx, nets.nu, config.horizon);
    PlanBatch batch = buffers.batch();
    change(batch);
    const auto planner = make_planner(config, nets.shape(2), nets.models());
    expect_refused<Error>([&] { planner->solve({}, batch); }, part);
  }
  void expect_bad_models(const Models& models, const std::string& part) {
    expect_refused<Error>([&] { make_planner(config, nets.shape(1), models); }, part);
  }
};

TEST_F(PlannerInput, WrongSizesAreRefusedByName) {
  expect_bad([](auto& b) { b.problems = 0; }, "problems");
  expect_bad([](auto& b) { b.problems = 3; }, "problems");
  expect_bad([](auto& b) { b.observation = b.observation.first(5); }, "observation");
  expect_bad([](auto& b) { b.plan = b.plan.first(15); }, "plan");
  expect_bad([](auto& b) { b.problem_id = b.problem_id.first(1); }, "problem_id");
  expect_bad([](auto& b) { b.value = {}; }, "value");
  expect_bad([](auto& b) { b.action = b.action.first(3); }, "action");
  expect_bad([](auto& b) { b.effective_samples = b.effective_samples.first(1); },
             "effective_samples");
  expect_bad([](auto& b) { b.valid_share = b.valid_share.first(1); }, "valid_share");
  expect_bad([](auto& b) { b.status = b.status.first(1); }, "status");
}

TEST_F(PlannerInput, BudgetsOutOfRangeAreRefusedByName) {
  const auto bad = [&](const SolveBudget& budget, const std::string& text) {
    expect_bad([&](auto& b) { b.budget = budget; }, "planner solve: budget." + text);
  };
  bad({.min_rollouts = -1}, "min_rollouts -1 must be in 0..8");
  bad({.min_rollouts = 9}, "min_rollouts 9 must be in 0..8");
  bad({.iterations = -2}, "iterations -2 must be in 0..1");
  bad({.iterations = 2}, "iterations 2 must be in 0..1");
  bad({.rollouts = -3}, "rollouts -3 must be in 0..8");
  bad({.rollouts = 9}, "rollouts 9 must be in 0..8");
  bad({.deadline = {}, .rollouts = 4}, "deadline stands alone");
  bad({.deadline = {}, .iterations = 1}, "deadline stands alone");
  config.member_draw = MemberDraw::per_rollout;
  config.particles = 2;
  bad({.rollouts = 3}, "rollouts 3 must be a multiple of 2");
  config.proposals = Proposals::plan_and_policy;
  bad({.rollouts = 6}, "rollouts 6 must be a multiple of 4");
}

TEST_F(PlannerInput, MissingModelsAreRefusedByName) {
  Models models = nets.models();
  models.dynamics = nullptr;
  expect_bad_models(models, "dynamics");
  models = nets.models();
  models.value = nullptr;
  expect_bad_models(models, "value");
  models = nets.models();
  models.reward = nullptr;
  expect_bad_models(models, "reward");
  config.control_mode = ControlMode::policy_residual;
  models = nets.models();
  models.policy = nullptr;
  expect_bad_models(models, "policy");
  config.control_mode = ControlMode::plain;
  config.handle_terminations = true;
  expect_bad_models(nets.models(), "termination");
}

TEST_F(PlannerInput, ATraceOfTheWrongSizeIsRefused) {
  Buffers buffers(2, nets.nx, nets.nu, config.horizon);
  const auto planner = make_planner(config, nets.shape(2), nets.models());
  const auto solve = [&](PlanTrace trace) { planner->solve({}, buffers.batch(), &trace); };
  std::vector<float> noise(2 * 8 * 4 * 2);
  std::vector<int> member(3, 1);
  PlanTrace trace;
  trace.noise = noise;
  trace.member = member;
  EXPECT_NO_THROW(solve(trace));
  trace.noise = std::span<const float>(noise).first(noise.size() - 1);
  expect_refused<Error>([&] { solve(trace); }, "noise");
  trace.noise = noise;
  trace.member = std::span<const int>(member).first(2);
  expect_refused<Error>([&] { solve(trace); }, "member");
  trace.member = member;
  member[1] = 2;
  expect_refused<Error>([&] { solve(trace); }, "member 2");
  PlanBatch timed = buffers.batch();
  timed.budget.deadline = SolveBudget::Clock::now() + std::chrono::hours(1);
  PlanTrace none;
  expect_refused<Error>([&] { planner->solve({}, timed, &none); },
                        "a trace is of a solve without a deadline");
}

// Outputs that nobody asked for stay empty, and ids default to the batch position.
TEST_F(PlannerInput, OptionalSpansMayBeEmpty) {
  Buffers all(2, nets.nx, nets.nu, config.horizon), few = all;
  const auto planner = make_planner(config, nets.shape(2), nets.models());
  planner->solve({4, 2}, all.batch());
  PlanBatch batch;
  batch.problems = 2;
  batch.observation = few.observation;
  batch.plan = few.plan;
  batch.value = few.value;
  planner->solve({4, 2}, batch);
  EXPECT_EQ(few.plan, all.plan);
  EXPECT_EQ(few.value, all.value);
}

TEST_F(PlannerInput, ShiftMovesByOneStepAndAppendsZero) {
  const auto planner = make_planner(config, nets.shape(1), nets.models());
  std::vector<float> plan = {1, 2, 3, 4, 5, 6, 7, 8};
  planner->shift(plan);
  EXPECT_EQ(plan, (std::vector<float>{3, 4, 5, 6, 7, 8, 0, 0}));
  plan.pop_back();
  expect_refused<Error>([&] { planner->shift(plan); }, "plan has 7");
  expect_refused<Error>([&] { planner->draw({}, 0, plan); }, "plan has 7");
}

TEST_F(PlannerInput, DrawHasTheStatedVarianceAndDependsOnItsKey) {
  config.variance = {0.04, 0.25};
  const auto planner = make_planner(config, nets.shape(1), nets.models());
  double sum[2] = {}, squares[2] = {};
  const int draws = 20'000;
  for (int d = 0; d < draws; ++d) {
    std::vector<float> plan(8);
    planner->draw({3, static_cast<std::uint32_t>(d)}, kEpisodePlan, plan);
    for (std::size_t i = 0; i < 8; ++i) {
      sum[i % 2] += plan[i];
      squares[i % 2] += static_cast<double>(plan[i]) * plan[i];
    }
  }
  const double n = 4.0 * draws;
  for (int i = 0; i < 2; ++i) {
    const double variance = config.variance[static_cast<std::size_t>(i)];
    EXPECT_NEAR(sum[i] / n, 0, 4 * std::sqrt(variance / n));
    EXPECT_NEAR(squares[i] / n, variance, 4 * variance * std::sqrt(2 / n));
  }
  std::vector<float> a(8), b(8), c(8), again(8);
  planner->draw({3, 1}, kEpisodePlan, a);
  planner->draw({3, 2}, kEpisodePlan, b);
  planner->draw({3, 1}, 0, c);
  planner->draw({3, 1}, kEpisodePlan, again);
  EXPECT_EQ(a, again);
  EXPECT_NE(a, b);
  EXPECT_NE(a, c);
}

TEST(PlannerMemory, MoreThanTheMachineHasIsRefusedBeforeItIsAllocated) {
  Random random(1);
  const SmallModels models(random, 3, 2, 2, 8);
  const ProblemShape shape = models.shape(1 << 10);
  PlannerConfig config;
  config.rollouts = 1 << 20;
  config.horizon = 1000;
  // noise [B, K, H+1, nu] alone takes 8598 GB; cost, weight and validity of each rollout 10 more
  expect_refused<Error>([&] { make_planner(config, shape, models.models()); },
                        "planner: 1024 problems x 1048576 rollouts x 1001 steps x 2 actions need "
                        "8608.");
  config.rollouts = 0;  // a size that is none comes first
  expect_refused<UsageError>([&] { make_planner(config, shape, models.models()); }, "rollouts");
}

}  // namespace
}  // namespace softmpc
