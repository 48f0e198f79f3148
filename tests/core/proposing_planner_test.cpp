// SPDX-License-Identifier: Apache-2.0
// Tests proposing_planner.h: random problems against two solves of the oracle and one softmax over
// all their rollouts, a policy that fails, bad states, threads, and what is refused.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "planner_oracle.h"
#include "planner_tolerance.h"
#include "random_models.h"
#include "random_problem.h"
#include "softmpc/error.h"
#include "softmpc/hd/philox.h"
#include "softmpc/thread_pool.h"

namespace softmpc {
namespace {

using oracle::expect_close;
using testing::Buffers;
using testing::Random;
using testing::SmallModels;

/// u_t = mu(x_t) - n [H+1, nu] of one problem, along the members of the first iteration's steps.
std::vector<float> proposed(const oracle::Problem& p, SolveKey key, const float* observation) {
  const int nx = p.shape.nx, nu = p.shape.nu;
  const std::vector<float> neutral = neutral_action(p.config, p.shape);
  std::vector<float> plan;
  oracle::Vector x(nx), joined(nx + nu);
  for (int i = 0; i < nx; ++i) x[i] = observation[i];
  for (int t = 0; t <= p.config.horizon; ++t) {
    const oracle::Vector z = oracle::evaluate_mlp(*p.policy, 0, x);
    joined.head(nx) = x;
    for (int i = 0; i < nu; ++i) {
      const double low = p.shape.action_low[i], high = p.shape.action_high[i];
      joined[nx + i] = (low + high) / 2 + (high - low) / 2 * std::tanh(z[i]);
      plan.push_back(static_cast<float>(joined[nx + i] - neutral[i]));
    }
    const int member = hd::draw_member(key.seed, key.solve, 0, t, p.members.stack);
    x += oracle::evaluate_mlp(p.members, member, joined).head(nx);
  }
  return plan;
}

/// The oracle's solve of one half: 0 is about the plan so far, 1 about the policy's.
oracle::Result solve_half(oracle::Problem p, SolveKey key, const Buffers& given, int half) {
  p.config.rollouts /= 2;
  oracle::Input in = {key, given.id, given.observation, given.plan};
  for (auto& id : in.id) id = 2 * id + half;
  if (half == 1) {
    in.plan.clear();
    for (std::size_t b = 0; b < in.id.size(); ++b)
      for (float u : proposed(p, key, &in.observation[b * p.shape.nx])) in.plan.push_back(u);
  }
  return solve(p, in);
}

/// One softmax over the rollouts of both halves.
oracle::Update joint(const PlannerConfig& c, const oracle::Update (&half)[2]) {
  oracle::Update all;
  const bool masked = c.prior == Prior::uniform && !(half[0].all_invalid && half[1].all_invalid);
  double least = std::numeric_limits<double>::infinity();
  const auto each = [&](const auto& use) {
    for (int m = 0; m < 2; ++m)
      for (std::size_t k = 0; k < half[m].cost.size(); ++k)
        if (!masked || half[m].valid[k]) use(m, half[m].cost[k] + half[m].constant);
  };
  each([&](int, double cost) { least = std::min(least, cost); });
  double share[2] = {0, 0}, squares = 0;
  each([&](int m, double cost) {
    const double w = std::exp((least - cost) / c.temperature);
    share[m] += w;
    squares += w * w;
  });
  const double sum = share[0] + share[1];
  all.value = c.temperature * std::log(sum / c.rollouts) - least;
  all.plan = (share[0] * half[0].plan + share[1] * half[1].plan) / sum;
  all.effective_samples = sum * sum / squares / c.particles;
  all.valid_share = (half[0].valid_share + half[1].valid_share) / 2;
  all.all_invalid = half[0].all_invalid && half[1].all_invalid;
  return all;
}

void compare(const oracle::Problem& p, const Buffers& got, std::size_t b,
             const oracle::Update& expected) {
  EXPECT_EQ(got.valid_share[b], expected.valid_share);
  EXPECT_EQ(got.status[b], expected.all_invalid ? PlanStatus::all_invalid : PlanStatus::ok);
  expect_close(got.value[b], expected.value, oracle::kValueTolerance, "value");
  expect_close(got.effective_samples[b], expected.effective_samples, 1e-3, "effective samples");
  const int steps = p.config.horizon + 1, nu = p.shape.nu;
  const std::vector<float> neutral = neutral_action(p.config, p.shape);
  for (int i = 0; i < nu; ++i) {
    for (int t = 0; t < steps; ++t)
      expect_close(got.plan[(b * steps + t) * nu + i], expected.plan(t, i), oracle::kPlanTolerance,
                   "plan");
    const double first = neutral[i] + expected.plan(0, i);
    expect_close(got.action[b * nu + i],
                 std::clamp(first, double{p.shape.action_low[i]}, double{p.shape.action_high[i]}),
                 oracle::kPlanTolerance, "action");
  }
}

struct Tally {
  int compared = 0, of_plan = 0, of_policy = 0;  // the halves with more than 0.9 of the weight
  int one_sided = 0;                             // only one half has a valid rollout
};

/// One random case; none where a decision was too close to call for float32.
void run_case(std::uint64_t seed, Tally& tally) {
  Random random(seed);
  const oracle::Problem p = testing::random_proposals(random);
  const int problems = random.whole(1, p.shape.max_problems);
  SCOPED_TRACE("seed " + std::to_string(seed) + ": " +
               testing::describe(p.config, p.shape, problems));
  Buffers buffers = testing::random_buffers(random, problems, p.shape, p.config.horizon);
  const SolveKey key = {seed * 7919 + 1, static_cast<std::uint32_t>(random.whole(0, 1 << 30))};
  const oracle::Result half[2] = {solve_half(p, key, buffers, 0), solve_half(p, key, buffers, 1)};
  // the proposed plan comes with float32's rounding of H policy and model steps
  if (std::min(half[0].margin, half[1].margin) < 1e-5) return;

  const MlpDynamics dynamics(p.members, p.shape.nx, p.shape.nu, p.outputs);
  const MlpValue value(p.critic, p.shape.nx, p.shape.nu);
  const MlpPolicy policy(*p.policy, p.shape.action_low, p.shape.action_high);
  const testing::TestReward reward(p.shape.nx, p.shape.nu, true);
  make_planner(p.config, p.shape, {&dynamics, &reward, &value, &policy})
      ->solve(key, buffers.batch());
  ++tally.compared;
  for (int b = 0; b < problems; ++b) {
    const oracle::Update last[2] = {half[0].update.back()[b], half[1].update.back()[b]};
    compare(p, buffers, b, joint(p.config, last));
    const double ahead = (last[1].value - last[0].value) / p.config.temperature;
    tally.of_plan += ahead < -std::log(9);
    tally.of_policy += ahead > std::log(9);
    tally.one_sided += last[0].all_invalid != last[1].all_invalid;
  }
}

TEST(ProposingPlanner, RandomProblemsAgreeWithOneSoftmaxOverBothHalves) {
  Tally tally;
  for (std::uint64_t seed = 1; seed <= 150 && !HasFailure(); ++seed) run_case(seed, tally);
  std::printf(
      "seeds 1..150: %d compared; problems where the plan's half has the say %d, the policy's %d, "
      "and where one half alone has a valid rollout %d\n",
      tally.compared, tally.of_plan, tally.of_policy, tally.one_sided);
  EXPECT_GE(tally.compared, 100);
  for (int count : {tally.of_plan, tally.of_policy, tally.one_sided}) EXPECT_GE(count, 5);
}

class BrokenPolicy final : public Policy {
 public:
  explicit BrokenPolicy(int nu) : nu_(nu) {}
  std::size_t scratch_bytes(int) const override { return 0; }
  void evaluate(ConstColumns, int count, Columns action, void*) const override {
    for (int i = 0; i < nu_; ++i)
      for (int j = 0; j < count; ++j) action[i][j] = std::nanf("");
  }

 private:
  int nu_;
};

struct ProposingTest : ::testing::Test {
  Random random{5};
  SmallModels nets{random, 3, 2, 2, 8};
  PlannerConfig config;
  ProposingTest() {
    config.proposals = Proposals::plan_and_policy;
    config.rollouts = 32;
    config.horizon = 3;
    config.iterations = 2;
  }
  Buffers buffers(int problems) {
    Buffers b(problems, nets.nx, nets.nu, config.horizon);
    b.observation = random.normals(b.observation.size(), 0.5);
    b.plan = random.normals(b.plan.size(), 0.3);
    return b;
  }
  /// What a planner with half of the rollouts makes of it, under the ids of the plan's half.
  Buffers solve_without_policy(Buffers b) const {
    PlannerConfig plain = config;
    plain.proposals = Proposals::plan;
    plain.rollouts /= 2;
    for (auto& id : b.id) id *= 2;
    make_planner(plain, nets.shape(static_cast<int>(b.id.size())), nets.models())
        ->solve({1, 1}, b.batch());
    return b;
  }
};

TEST_F(ProposingTest, WithoutUseOfThePolicyPlansAreThoseOfThePlansHalf) {
  const BrokenPolicy policy(nets.nu);
  Models models = nets.models();
  models.policy = &policy;
  Buffers got = buffers(3);
  const Buffers expected = solve_without_policy(got);
  make_planner(config, nets.shape(3), models)->solve({1, 1}, got.batch());
  EXPECT_EQ(got.plan, expected.plan);
  EXPECT_EQ(got.action, expected.action);
  EXPECT_EQ(got.status, expected.status);
  for (std::size_t b = 0; b < 3; ++b) {
    EXPECT_EQ(got.status[b], PlanStatus::ok);
    EXPECT_EQ(got.valid_share[b], 0.5);
    EXPECT_DOUBLE_EQ(got.effective_samples[b], expected.effective_samples[b]);
    // the other half's rollouts count as infinitely dear
    EXPECT_NEAR(got.value[b], expected.value[b] - config.temperature * std::log(2), 1e-12);
  }
}

TEST_F(ProposingTest, BadStateLeavesItsPlanAndTheOthersAlone) {
  for (float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    Buffers clean = buffers(3), dirty = clean;
    dirty.observation[4] = bad;  // of problem 1
    const std::vector<float> before = dirty.plan;
    const auto planner = make_planner(config, nets.shape(3), nets.models());
    planner->solve({1, 1}, clean.batch());
    planner->solve({1, 1}, dirty.batch());
    EXPECT_EQ(dirty.status[1], PlanStatus::bad_state);
    EXPECT_TRUE(std::isnan(dirty.value[1]));
    EXPECT_EQ(dirty.valid_share[1], 0);
    EXPECT_EQ(dirty.effective_samples[1], 0);
    for (std::size_t i = 8; i < 16; ++i) EXPECT_EQ(dirty.plan[i], before[i]);
    for (std::size_t i = 0; i < 2; ++i)
      EXPECT_EQ(dirty.action[2 + i], std::clamp(before[8 + i], -1.0f, 1.5f));
    for (std::size_t b : {0u, 2u}) {
      EXPECT_EQ(dirty.status[b], PlanStatus::ok);
      EXPECT_EQ(dirty.value[b], clean.value[b]);
      for (std::size_t i = 8 * b; i < 8 * b + 8; ++i) EXPECT_EQ(dirty.plan[i], clean.plan[i]);
    }
  }
}

TEST_F(ProposingTest, PlansAreTheSameBitsForAnyThreadsAndPlaceInTheBatch) {
  const int problems = 150;  // three blocks of the policy's roll-out
  const Buffers given = buffers(problems);
  Buffers one = given, three = given;
  for (auto [threads, b] : {std::pair{1, &one}, std::pair{3, &three}}) {
    ThreadPool pool(threads);
    make_planner(config, nets.shape(problems), nets.models(), {.pool = &pool})
        ->solve({1, 1}, b->batch());
  }
  EXPECT_EQ(one.plan, three.plan);
  EXPECT_EQ(one.action, three.action);
  EXPECT_EQ(one.value, three.value);
  EXPECT_EQ(one.effective_samples, three.effective_samples);

  Buffers alone(1, nets.nx, nets.nu, config.horizon);
  const std::size_t b = 101, n = alone.plan.size();
  std::copy_n(given.observation.begin() + b * nets.nx, nets.nx, alone.observation.begin());
  std::copy_n(given.plan.begin() + b * n, n, alone.plan.begin());
  alone.id = {static_cast<std::uint32_t>(b)};
  make_planner(config, nets.shape(1), nets.models())->solve({1, 1}, alone.batch());
  EXPECT_EQ(alone.value[0], one.value[b]);
  for (std::size_t i = 0; i < n; ++i) EXPECT_EQ(alone.plan[i], one.plan[b * n + i]);
}

TEST_F(ProposingTest, RefusalsAreSentences) {
  const auto refusal = [&](const PlannerConfig& c, const Models& models) -> std::string {
    try {
      make_planner(c, nets.shape(1), models);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(refusal(config, nets.models()), "no error");
  Models none = nets.models();
  none.policy = nullptr;
  EXPECT_EQ(refusal(config, none), "planner solve: proposals plan_and_policy needs a policy");
  PlannerConfig bad = config;
  bad.rollouts = 33;
  EXPECT_EQ(refusal(bad, nets.models()),
            "planner: rollouts, 33, must have two equal halves of whole particles with proposals "
            "plan_and_policy");
  bad = config;
  bad.control_mode = ControlMode::policy_residual;
  EXPECT_EQ(refusal(bad, nets.models()),
            "planner: proposals plan_and_policy does not fit control_mode policy_residual");

  const auto planner = make_planner(config, nets.shape(1), nets.models());
  Buffers b = buffers(1);
  // a trace is of both halves
  PlanTrace trace;
  planner->solve({1, 1}, b.batch(), &trace);
  EXPECT_EQ(trace.value.size(), 2u * config.iterations);
  EXPECT_EQ(trace.cost.size(), static_cast<std::size_t>(config.iterations * config.rollouts));
}

}  // namespace
}  // namespace softmpc
