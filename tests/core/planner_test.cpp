// SPDX-License-Identifier: Apache-2.0
// Tests planner.h: random problems against the double-precision oracle, statuses, refused input.
#include "softmpc/planner.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "planner_oracle.h"
#include "planner_tolerance.h"
#include "random_models.h"
#include "random_problem.h"
#include "softmpc/error.h"
#include "softmpc/hd/philox.h"

namespace softmpc {
namespace {

using testing::Buffers;
using testing::Random;
using testing::SmallModels;
using testing::TestReward;

using oracle::expect_close;
using oracle::kCostTolerance;
using oracle::kPlanTolerance;
using oracle::kValueTolerance;

void compare_update(const oracle::Problem& p, const PlanTrace& trace, std::size_t row,
                    const oracle::Update& expected) {
  const std::size_t k = static_cast<std::size_t>(p.config.rollouts);
  for (std::size_t i = 0; i < k; ++i) {
    expect_close(trace.cost[row * k + i], expected.cost[i], kCostTolerance, "cost");
    if (p.config.prior == Prior::uniform) {
      EXPECT_EQ(trace.valid[row * k + i] != 0, expected.valid[i]) << "valid " << i;
    }
  }
  expect_close(trace.value[row], expected.value, kValueTolerance, "value");
  expect_close(trace.effective_samples[row], expected.effective_samples, 1e-3, "effective samples");
  const Eigen::Index steps = p.config.horizon + 1, nu = p.shape.nu;
  for (Eigen::Index t = 0; t < steps; ++t)
    for (Eigen::Index i = 0; i < nu; ++i)
      expect_close(trace.plan[(row * steps + t) * nu + i], expected.plan(t, i), kPlanTolerance,
                   "plan");
}

void compare_results(const oracle::Problem& p, const Buffers& got, const oracle::Result& expected) {
  for (std::size_t b = 0; b < got.id.size(); ++b) {
    const oracle::Update& last = expected.update.back()[b];
    EXPECT_EQ(got.valid_share[b], last.valid_share);
    EXPECT_EQ(got.status[b], last.all_invalid ? PlanStatus::all_invalid : PlanStatus::ok);
    expect_close(got.value[b], last.value, kValueTolerance, "value");
    for (int i = 0; i < p.shape.nu; ++i)
      expect_close(got.action[b * p.shape.nu + i], expected.action[b][i], kPlanTolerance, "action");
  }
}

/// One random case; false if a decision was too close to call for float32.
bool run_case(std::uint64_t seed) {
  Random random(seed);
  const oracle::Problem p = testing::random_problem(random);
  const int problems = random.whole(1, p.shape.max_problems);
  SCOPED_TRACE("seed " + std::to_string(seed) + ": " +
               testing::describe(p.config, p.shape, problems));
  Buffers buffers = testing::random_buffers(random, problems, p.shape, p.config.horizon);
  const SolveKey key = {seed * 7919 + 1, static_cast<std::uint32_t>(random.whole(0, 1 << 30))};
  const auto expected = oracle::solve(p, {key, buffers.id, buffers.observation, buffers.plan});
  if (expected.margin < 2e-6) return false;

  const MlpDynamics dynamics(p.members, p.shape.nx, p.shape.nu, p.outputs);
  const MlpValue value(p.critic, p.shape.nx, p.shape.nu);
  std::optional<MlpPolicy> policy;  // refuses unbounded actions
  if (p.config.control_mode == ControlMode::policy_residual)
    policy.emplace(*p.policy, p.shape.action_low, p.shape.action_high);
  const TestReward reward(p.shape.nx, p.shape.nu, true);
  const auto planner =
      make_planner(p.config, p.shape, {&dynamics, &reward, &value, policy ? &*policy : nullptr});
  PlanTrace trace;
  planner->solve(key, buffers.batch(), &trace);
  for (int iteration = 0; iteration < p.config.iterations; ++iteration)
    for (int b = 0; b < problems; ++b)
      compare_update(p, trace, static_cast<std::size_t>(iteration * problems + b),
                     expected.update[iteration][b]);
  compare_results(p, buffers, expected);
  return true;
}

TEST(PlannerOracle, RandomProblemsAgree) {
  int compared = 0;
  for (std::uint64_t seed = 1; seed <= 150 && !HasFailure(); ++seed) compared += run_case(seed);
  std::printf("seeds 1..150: %d compared, %d too close to a boundary\n", compared, 150 - compared);
  EXPECT_GE(compared, 100);
}

// Not checked above: what the statuses mean and what is left alone.
struct StatusTest : ::testing::Test {
  Random random{5};
  SmallModels nets{random, 3, 2, 2, 8};
  PlannerConfig config;
  StatusTest() {
    config.rollouts = 32;
    config.horizon = 3;
  }
  Buffers buffers(int problems) {
    Buffers b(problems, nets.nx, nets.nu, config.horizon);
    b.observation = random.normals(b.observation.size(), 0.5);
    b.plan = random.normals(b.plan.size(), 0.3);
    return b;
  }
};

TEST_F(StatusTest, BadStateLeavesItsPlanAndTheOthersAlone) {
  for (float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    Buffers clean = buffers(3), dirty = clean;
    dirty.observation[4] = bad;  // of problem 1
    const auto planner = make_planner(config, nets.shape(3), nets.models());
    planner->solve({1, 1}, clean.batch());
    const std::vector<float> before = dirty.plan;
    planner->solve({1, 1}, dirty.batch());
    EXPECT_EQ(dirty.status[1], PlanStatus::bad_state);
    EXPECT_TRUE(std::isnan(dirty.value[1]));
    EXPECT_EQ(dirty.valid_share[1], 0);
    EXPECT_EQ(dirty.effective_samples[1], 0);
    for (std::size_t i = 0; i < 8; ++i) EXPECT_EQ(dirty.plan[8 + i], before[8 + i]);
    for (std::size_t i = 0; i < 2; ++i)
      EXPECT_EQ(dirty.action[2 + i], std::min(std::max(before[8 + i], -1.0f), 1.5f));
    for (std::size_t b : {0u, 2u}) {
      EXPECT_EQ(dirty.status[b], PlanStatus::ok);
      EXPECT_EQ(dirty.value[b], clean.value[b]);
      for (std::size_t i = 0; i < 8; ++i) EXPECT_EQ(dirty.plan[8 * b + i], clean.plan[8 * b + i]);
    }
  }
}

/// Dynamics that break for actions above a limit.
class Breaking final : public DynamicsModel {
 public:
  explicit Breaking(float limit) : limit_(limit) {}
  int members() const override { return 1; }
  std::size_t scratch_bytes(int) const override { return 0; }
  void step(int, ConstColumns x, ConstColumns a, int count, const StepResult& out,
            void*) const override {
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j < count; ++j) out.next[i][j] = a[0][j] > limit_ ? std::nanf("") : x[i][j];
  }

 private:
  float limit_;
};

TEST_F(StatusTest, NotFiniteLeavesThePlan) {
  const Breaking dynamics(-100);
  Models models = nets.models();
  models.dynamics = &dynamics;
  Buffers b = buffers(2);
  const std::vector<float> before = b.plan;
  config.iterations = 2;
  const auto planner = make_planner(config, nets.shape(2), models);
  PlanTrace trace;
  planner->solve({1, 1}, b.batch(), &trace);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(b.status[i], PlanStatus::not_finite);
    EXPECT_TRUE(std::isnan(b.value[i]));
    EXPECT_EQ(b.valid_share[i], 0);
    EXPECT_EQ(b.effective_samples[i], 0);
    EXPECT_EQ(trace.effective_samples[i], 0);
  }
  EXPECT_EQ(b.plan, before);
}

TEST_F(StatusTest, RolloutsWithoutAFiniteCostAreLeftOut) {
  const Breaking dynamics(0.3f);
  Models models = nets.models();
  models.dynamics = &dynamics;
  Buffers b = buffers(1);
  config.rollouts = 64;
  const auto planner = make_planner(config, nets.shape(1), models);
  PlanTrace trace;
  planner->solve({1, 1}, b.batch(), &trace);
  int finite = 0;
  for (float s : trace.cost) finite += std::isfinite(s);
  ASSERT_GT(finite, 0);
  ASSERT_LT(finite, 64);
  EXPECT_EQ(b.status[0], PlanStatus::ok);
  EXPECT_EQ(b.valid_share[0], finite / 64.0);
  EXPECT_TRUE(std::isfinite(b.value[0]));
  for (float u : b.plan) EXPECT_TRUE(std::isfinite(u));
}

TEST_F(StatusTest, AllInvalidCountsAllRollouts) {
  config.prior = Prior::uniform;
  Buffers b = buffers(1);
  b.plan[0] = 30;  // far outside the box
  const auto planner = make_planner(config, nets.shape(1), nets.models());
  PlanTrace trace;
  planner->solve({1, 1}, b.batch(), &trace);
  EXPECT_EQ(b.status[0], PlanStatus::all_invalid);
  EXPECT_EQ(b.valid_share[0], 0);
  EXPECT_GE(b.effective_samples[0], 1);
  EXPECT_TRUE(std::isfinite(b.value[0]));
  EXPECT_NE(b.plan[1], 0);
  for (auto v : trace.valid) EXPECT_EQ(v, 0);
}

TEST_F(StatusTest, TheBoxIsClosed) {
  config.prior = Prior::uniform;
  config.rollouts = 3;
  Buffers b = buffers(1);
  std::fill(b.plan.begin(), b.plan.end(), 0.0f);
  std::vector<float> noise(3 * b.plan.size());
  noise[0] = 1.5f;                            // on the upper bound
  noise[b.plan.size() + 1] = -1.0f;           // on the lower bound
  noise[2 * b.plan.size() + 7] = 1.5000001f;  // outside, at the last step
  const auto planner = make_planner(config, nets.shape(1), nets.models());
  PlanTrace trace;
  trace.noise = noise;
  planner->solve({1, 1}, b.batch(), &trace);
  EXPECT_EQ(trace.valid, (std::vector<std::uint8_t>{1, 1, 0}));
  EXPECT_EQ(b.valid_share[0], 2.0 / 3);
}

TEST_F(StatusTest, ABrokenPolicyGivesAUsableAction) {
  class Nothing final : public Policy {
    std::size_t scratch_bytes(int) const override { return 0; }
    void evaluate(ConstColumns, int count, Columns action, void*) const override {
      for (int i = 0; i < 2; ++i)
        for (int j = 0; j < count; ++j) action[i][j] = std::nanf("");
    }
  } policy;
  Models models = nets.models();
  models.policy = &policy;
  config.control_mode = ControlMode::policy_residual;
  Buffers b = buffers(1);
  make_planner(config, nets.shape(1), models)->solve({1, 1}, b.batch());
  EXPECT_EQ(b.status[0], PlanStatus::not_finite);
  for (float a : b.action) EXPECT_TRUE(std::isfinite(a));
}

}  // namespace
}  // namespace softmpc
