// SPDX-License-Identifier: Apache-2.0
// Tests for models/planner_targets.cpp: y, the least of several critics, write-back and start
// plans, against an oracle that solves row by row.
#include "planner_targets.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <limits>

#include "core/random_models.h"
#include "softmpc/error.h"
#include "softmpc/thread_pool.h"

namespace softmpc {
namespace {

using testing::Random;

constexpr int kNx = 3, kNu = 2, kHorizon = 3, kPlan = (kHorizon + 1) * kNu, kStored = 9;

/// x' = x + 0.1 (a_0, a_1, x_0)
struct Drift final : DynamicsModel {
  int members() const override { return 1; }
  std::size_t scratch_bytes(int) const override { return 0; }
  void step(int, ConstColumns x, ConstColumns a, int count, const StepResult& out,
            void*) const override {
    for (int j = 0; j < count; ++j) {
      out.next[0][j] = x[0][j] + 0.1f * a[0][j];
      out.next[1][j] = x[1][j] + 0.1f * a[1][j];
      out.next[2][j] = x[2][j] + 0.1f * x[0][j];
    }
  }
};

/// r = -|x'|^2
struct Stay final : RewardModel {
  void reward(ConstColumns, ConstColumns, ConstColumns next, int count, float* out) const override {
    for (int j = 0; j < count; ++j)
      out[j] = -(next[0][j] * next[0][j] + next[1][j] * next[1][j] + next[2][j] * next[2][j]);
  }
};

/// Q = sign (a_0 + a_1 + 3 x_0): critics of opposite sign, so that the least one changes by row.
struct Tilt final : TerminalValue {
  explicit Tilt(float s) : sign(s) {}
  std::size_t scratch_bytes(int) const override { return 0; }
  void evaluate(ConstColumns x, ConstColumns a, int count, float* out, void*) const override {
    for (int j = 0; j < count; ++j) out[j] = sign * (a[0][j] + a[1][j] + 3 * x[0][j]);
  }
  float sign;
};

struct Case {
  Config config;
  ProblemShape shape{kNx, kNu, {-1, -2}, {1, 2}, 6};
  ThreadPool pool{1};
  Drift dynamics;
  Stay reward;
  Tilt up{1}, down{-1};
  Replay replay{kNx, kNu, kPlan, 100};
  ReplayBatch batch;
  std::uint32_t solves = 5;

  Case(bool warm, int critics, std::uint64_t seed, int target_horizon = 0) {
    config.planner.horizon = kHorizon;
    config.planner.rollouts = 50;
    config.planner.gamma = 0.9;
    config.planner.termination_cost = 2;
    config.targets.horizon = target_horizon;
    config.targets.temperature = target_horizon > 0 ? 0.4 : 0;
    config.targets.rollouts = 12;
    config.targets.warm_start = warm;
    config.critic.count = critics;
    config.critic.batch_size = 6;
    std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
    Random random(seed);
    const auto values = [&](int n) {
      std::vector<float> v(n);
      for (float& x : v) x = random.normal(0.5);
      return v;
    };
    for (int i = 0; i < kStored; ++i)
      replay.add(values(kNx), values(kNu), values(kNx), random.normal(), i % 3 == 0, values(kPlan));
    batch.size = 6;
    batch.slot = {4, 0, 7, 4, 3, 4};  // slot 4 three times
    replay.gather(batch);
  }
  Models models(int critic) const {
    return {&dynamics, &reward, critic == 0 ? &up : &down, nullptr};
  }
  std::vector<float> compute() {
    std::vector<float> y(batch.size);
    PlannerTargets targets(config, shape, models(0), pool);
    targets.compute(
        batch, [this](int c) { return models(c); }, solves, replay, y);
    return y;
  }
  std::vector<float> stored(std::int64_t slot) const {
    const auto plan = replay.plan(slot);
    return {plan.begin(), plan.end()};
  }
};

/// Of one row: least value over critics, and that critic's refined plan.
struct Refined {
  double value = std::numeric_limits<double>::infinity();
  std::vector<float> plan;
};

Refined oracle(const Case& c, int row, std::uint32_t first_solve) {
  PlannerConfig config = c.config.planner;
  config.rollouts = c.config.targets.rollouts;
  if (c.config.targets.horizon > 0) {
    config.horizon = c.config.targets.horizon;
    config.temperature = c.config.targets.temperature;
  }
  const auto planner = make_planner(config, c.shape, c.models(0));
  const int size = (config.horizon + 1) * kNu;
  std::vector<float> start(size, 0.0f);
  if (c.config.targets.warm_start)
    for (int i = 0; i < size && i + kNu < kPlan; ++i)
      start[i] = c.batch.plan[row * kPlan + kNu + i];
  else
    planner->draw({c.config.trainer.seed, first_solve}, static_cast<std::uint32_t>(row), start);
  Refined best;
  for (int critic = 0; critic < c.config.critic.count; ++critic) {
    std::vector<float> plan = start;
    double value = 0;
    const auto id = static_cast<std::uint32_t>(row);
    PlanBatch problem;
    problem.problems = 1;
    problem.problem_id = {&id, 1};
    problem.observation = std::span(c.batch.next).subspan(row * kNx, kNx);
    problem.plan = plan;
    problem.value = {&value, 1};
    planner->update(c.models(critic));
    planner->solve({c.config.trainer.seed, first_solve + critic}, problem);
    if (value < best.value) best = {value, plan};
  }
  return best;
}

TEST(PlannerTargets, TargetsAreThoseOfTheLeastCritic) {
  for (const bool warm : {true, false})
    for (const int critics : {1, 2}) {
      const int horizon = warm ? 2 * (critics - 1) : critics;  // of the targets; 0: the planner's
      SCOPED_TRACE(std::to_string(warm) + " " + std::to_string(critics));
      Case c(warm, critics, 17, horizon);
      std::vector<Refined> expected;
      for (int i = 0; i < c.batch.size; ++i) expected.push_back(oracle(c, i, c.solves));
      const std::vector<float> y = c.compute();
      int terminated = 0;
      for (int i = 0; i < c.batch.size; ++i) {
        const bool ended = c.batch.terminated[i] != 0;
        terminated += ended;
        EXPECT_NEAR(y[i], c.batch.reward[i] + (ended ? -2 : 0.9 * expected[i].value), 1e-5) << i;
      }
      EXPECT_GT(terminated, 0);
      EXPECT_LT(terminated, c.batch.size);
      EXPECT_EQ(c.solves, 5u + critics) << "each critic's solve has a key of its own";
    }
}

TEST(PlannerTargets, TheLeastCriticIsNotTheSameInAllRows) {
  Case c(true, 2, 17);
  int first = 0;
  for (int i = 0; i < c.batch.size; ++i) {
    const double least = oracle(c, i, c.solves).value;
    Case one(true, 1, 17);
    first += oracle(one, i, c.solves).value == least;
  }
  EXPECT_GT(first, 0);
  EXPECT_LT(first, c.batch.size) << "the case above would not notice a wrong minimum";
}

void expect_written_back(int target_horizon) {
  Case c(true, 2, 18, target_horizon);
  std::vector<std::vector<float>> expected;
  for (int slot = 0; slot < kStored; ++slot) expected.push_back(c.stored(slot));
  for (int i = 0; i < c.batch.size; ++i) {
    const Refined refined = oracle(c, i, c.solves);
    for (int k = 0; k < static_cast<int>(refined.plan.size()) && k + kNu < kPlan; ++k)
      expected[c.batch.slot[i]][k + kNu] = refined.plan[k];
  }
  const std::vector<float> before = c.stored(4);
  c.compute();
  for (int slot = 0; slot < kStored; ++slot) {
    const std::vector<float> found = c.stored(slot);
    for (int i = 0; i < kPlan; ++i) EXPECT_NEAR(found[i], expected[slot][i], 1e-5) << slot;
  }
  EXPECT_NE(c.stored(4), before);
  EXPECT_EQ(c.stored(4)[0], before[0]) << "the action that was executed stays";
}

TEST(PlannerTargets, RefinedPlansGoBackBehindTheFirstActionAndTheLastOfASlotWins) {
  expect_written_back(0);
}

TEST(PlannerTargets, AShorterHorizonLeavesTheEndOfAStoredPlan) {
  for (int horizon : {1, 2, kHorizon}) expect_written_back(horizon);
}

TEST(PlannerTargets, ColdTargetsLeaveStoredPlansAlone) {
  Case c(false, 2, 19);
  std::vector<std::vector<float>> before;
  for (int slot = 0; slot < kStored; ++slot) before.push_back(c.stored(slot));
  c.compute();
  for (int slot = 0; slot < kStored; ++slot) EXPECT_EQ(c.stored(slot), before[slot]);
}

TEST(PlannerTargets, ADivergedNetIsAnError) {
  struct Broken final : TerminalValue {
    std::size_t scratch_bytes(int) const override { return 0; }
    void evaluate(ConstColumns, ConstColumns, int count, float* out, void*) const override {
      std::fill_n(out, count, std::numeric_limits<float>::quiet_NaN());
    }
  } broken;
  Case c(true, 1, 20);
  std::vector<float> y(c.batch.size);
  PlannerTargets targets(c.config, c.shape, c.models(0), c.pool);
  const auto models = [&](int) { return Models{&c.dynamics, &c.reward, &broken, nullptr}; };
  const std::vector<float> before = c.stored(4);
  EXPECT_THROW(targets.compute(c.batch, models, c.solves, c.replay, y), Error);
  EXPECT_EQ(c.stored(4), before);
}

}  // namespace
}  // namespace softmpc
