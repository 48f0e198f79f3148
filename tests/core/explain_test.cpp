// SPDX-License-Identifier: Apache-2.0
// Tests explain.h: over random problems of all settings the parts make the plan, and the states are
// what the models make of the actions.
#include "explain.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "random_models.h"
#include "random_problem.h"

namespace softmpc {
namespace {

using testing::Buffers;
using testing::Random;
using testing::SmallModels;
using testing::TestReward;

/// A problem with its models and one input.
struct Case {
  oracle::Problem p;
  MlpDynamics dynamics;
  MlpValue value;
  std::optional<MlpPolicy> policy;  // refuses unbounded actions
  TestReward reward;
  Buffers buffers;
  SolveKey key;

  Case(Random& random, oracle::Problem problem)
      : p(std::move(problem)),
        dynamics(p.members, p.shape.nx, p.shape.nu, p.outputs),
        value(p.critic, p.shape.nx, p.shape.nu),
        reward(p.shape.nx, p.shape.nu, true),
        buffers(testing::random_buffers(random, 1, p.shape, p.config.horizon)),
        key{static_cast<std::uint64_t>(random.whole(0, 1 << 30)),
            static_cast<std::uint32_t>(random.whole(0, 1 << 30))} {
    if (plans_with_policy(p.config))
      policy.emplace(*p.policy, p.shape.action_low, p.shape.action_high);
  }
  Models models() const { return {&dynamics, &reward, &value, policy ? &*policy : nullptr}; }
  Explanation explained(SolveDone done = {}) const {
    return explain(p.config, p.shape, models(),
                   {.key = key,
                    .problem_id = buffers.id[0],
                    .observation = buffers.observation,
                    .plan = buffers.plan,
                    .done = done});
  }
};

/// What a step of one rollout gives, lane by itself.
struct Step {
  std::vector<float> next;
  float reward = 0;
  std::uint8_t terminated = 0;
};

Step step(const Case& c, int member, const float* x, const float* a) {
  Step s;
  s.next.resize(static_cast<std::size_t>(c.p.shape.nx));
  std::vector<double> scratch(c.dynamics.scratch_bytes(1) / sizeof(double) + 9);
  void* aligned = scratch.data();
  std::size_t room = scratch.size() * sizeof(double);
  std::align(64, c.dynamics.scratch_bytes(1), aligned, room);
  c.dynamics.step(member, {x, 1}, {a, 1}, 1, {{s.next.data(), 1}, &s.reward, &s.terminated},
                  aligned);
  if (!c.dynamics.predicts_reward())
    c.reward.reward({x, 1}, {a, 1}, {s.next.data(), 1}, 1, &s.reward);
  if (!c.dynamics.predicts_termination()) c.reward.terminated({s.next.data(), 1}, 1, &s.terminated);
  return s;
}

void expect_near(double got, double expected, const char* what) {
  EXPECT_NEAR(got, expected, 2e-5 * (1 + std::abs(expected))) << what;
}

/// Walks along the kept actions.
void check_rollout(const Case& c, const ExplainedRollout& r, std::span<const float> observation) {
  const int nx = c.p.shape.nx, nu = c.p.shape.nu, h = c.p.config.horizon;
  for (int i = 0; i < nx; ++i) EXPECT_EQ(r.state[i], observation[i]);
  int end = h;
  double gain = 0, discount = 1;
  for (int t = 0; t < h; ++t, discount *= c.p.config.gamma) {
    const float* a = r.action.data() + t * nu;
    const Step s = step(c, r.member[t], r.state.data() + t * nx, a);
    for (int i = 0; i < nx; ++i) expect_near(r.state[(t + 1) * nx + i], s.next[i], "state");
    const bool ends = c.p.config.handle_terminations && s.terminated;
    const double reward = s.reward - (ends ? c.p.config.termination_cost : 0);
    expect_near(r.reward[t], reward, "reward");
    if (t <= end) gain += discount * reward;
    if (ends && end == h) end = t;
  }
  EXPECT_EQ(r.end, end);
  if (end < h) {
    EXPECT_EQ(r.terminal_value, 0);
  }
  expect_near(r.gain, gain + discount * r.terminal_value, "return");
  expect_near(r.cost, static_cast<double>(r.prior_term) - r.gain, "cost");
  for (int t = 0; t <= h; ++t)
    for (int i = 0; i < nu; ++i) {
      EXPECT_GE(r.action[t * nu + i], c.p.shape.action_low[i]);
      EXPECT_LE(r.action[t * nu + i], c.p.shape.action_high[i]);
    }
  EXPECT_EQ(r.first_outside < 0, r.clipped == 0);
}

void check_plan(const Case& c, const Explanation& e, SolveDone done) {
  Buffers solved = c.buffers;
  PlanBatch batch = solved.batch();
  batch.budget.iterations = done.iterations;
  batch.budget.rollouts = done.rollouts;
  ProblemShape one = c.p.shape;
  one.max_problems = 1;
  make_planner(c.p.config, one, c.models())->solve(c.key, batch);
  EXPECT_EQ(e.refined, solved.plan);
  EXPECT_EQ(e.plan, c.buffers.plan);
  EXPECT_EQ(e.action, solved.action);
  EXPECT_EQ(e.value, solved.value[0]);
  EXPECT_EQ(e.status, solved.status[0]);
}

/// What was seen over all cases, so that none of it is tested by nothing.
struct Seen {
  int left_box = 0, other_left_box = 0, ended = 0, not_started = 0, particles = 0, two_parts = 0;
};

void check(const Case& c, SolveDone done, Seen& seen) {
  const Explanation e = c.explained(done);
  check_plan(c, e, done);
  EXPECT_NEAR(e.weight_sum, 1, 1e-9);
  EXPECT_TRUE(e.agrees()) << "S by " << e.cost_check.difference << ", V by "
                          << e.value_check.difference;
  EXPECT_LE(e.cost_check.of_rounding, 0.1);
  EXPECT_LE(e.value_check.of_rounding, 0.1);
  ASSERT_EQ(static_cast<int>(e.rollouts.size()), c.p.config.rollouts);
  int counting = 0, started = 0;
  for (const ExplainedRollout& r : e.rollouts) {
    counting += r.fate == RolloutFate::counts;
    started += r.fate != RolloutFate::not_started;
    seen.left_box += r.fate == RolloutFate::left_box;
    seen.other_left_box += r.fate == RolloutFate::other_left_box;
    seen.not_started += r.fate == RolloutFate::not_started;
    if (r.fate != RolloutFate::counts) {
      EXPECT_EQ(r.weight, 0);
    }
    if (r.fate == RolloutFate::not_started) continue;
    seen.ended += r.end < c.p.config.horizon;
    check_rollout(c, r, c.buffers.observation);
  }
  EXPECT_EQ(started, e.done.rollouts);
  if (e.valid_share > 0 && e.parts.size() == 1) {
    EXPECT_NEAR(e.valid_share, static_cast<double>(counting) / e.done.rollouts, 1e-12);
  }
  seen.particles += c.p.config.particles > 1;
  seen.two_parts += e.parts.size() == 2;
  for (const ExplainedPart& part : e.parts)
    EXPECT_EQ(static_cast<int>(part.iterations.size()), e.done.iterations);
}

TEST(Explain, ThePartsMakeThePlan) {
  Seen seen;
  for (std::uint64_t seed = 1; seed <= 60 && !HasFailure(); ++seed) {
    Random random(seed);
    const bool proposing = seed % 3 == 0;
    const Case c(random,
                 proposing ? testing::random_proposals(random) : testing::random_problem(random));
    SCOPED_TRACE("seed " + std::to_string(seed) + ": " +
                 testing::describe(c.p.config, c.p.shape, 1));
    check(c, {}, seen);
    const int whole = c.p.config.particles * (proposing ? 2 : 1);
    const int part = random.whole(1, c.p.config.rollouts / whole) * whole;
    check(c, {random.whole(1, c.p.config.iterations), part}, seen);
  }
  std::printf(
      "seeds 1..60: rollouts %d left the box, %d by another particle, %d ended, %d not "
      "started; cases %d with particles, %d of two parts\n",
      seen.left_box, seen.other_left_box, seen.ended, seen.not_started, seen.particles,
      seen.two_parts);
  for (const int count : {seen.left_box, seen.other_left_box, seen.ended, seen.not_started,
                          seen.particles, seen.two_parts})
    EXPECT_GT(count, 0);
}

TEST(Explain, FindsAPartThatDoesNotFit) {
  Random random(7);
  const Case c(random, testing::random_proposals(random));
  const auto refuses = [&](const char* what, const auto& tamper) {
    Explanation e = c.explained();
    ASSERT_TRUE(e.agrees()) << what;
    tamper(e);
    explain_trace(c.p.config, c.p.shape, e);
    EXPECT_FALSE(e.agrees()) << what;
  };
  refuses("reward", [](Explanation& e) { e.kept.reward[0] += 0.01f; });
  refuses("prior", [](Explanation& e) { e.kept.prior.back() += 0.01f; });
  refuses("constant", [](Explanation& e) { e.kept.value_constant[0] += 0.01; });
  refuses("value", [](Explanation& e) { e.value += 0.01; });
}

/// NaN where a_0 > `least`, else 0.
class BrokenValue final : public TerminalValue {
 public:
  explicit BrokenValue(float least) : least_(least) {}
  std::size_t scratch_bytes(int) const override { return 0; }
  void evaluate(ConstColumns, ConstColumns a, int count, float* out, void*) const override {
    for (int j = 0; j < count; ++j) out[j] = a[0][j] > least_ ? std::nanf("") : 0.0f;
  }

 private:
  float least_;
};

TEST(Explain, SaysWhatIsNotFinite) {
  Random random(9);
  const SmallModels nets(random, 3, 1, 2, 8);
  PlannerConfig config;
  config.rollouts = 64;
  config.horizon = 3;
  config.variance = {0.3};
  const std::vector<float> observation(3), plan(4);
  for (const float least : {-5.0f, 0.2f}) {
    const BrokenValue broken(least);
    Models models = nets.models();
    models.value = &broken;
    const Explanation e = explain(config, nets.shape(1), models,
                                  {.key = {1, 1}, .observation = observation, .plan = plan});
    const auto broken_ones =
        std::ranges::count(e.rollouts, RolloutFate::not_finite, &ExplainedRollout::fate);
    EXPECT_TRUE(e.agrees());
    if (least < 0) {
      EXPECT_EQ(e.status, PlanStatus::not_finite);
      EXPECT_EQ(e.weight_sum, 0);
      EXPECT_EQ(broken_ones, 64);
    } else {
      EXPECT_EQ(e.status, PlanStatus::ok);
      EXPECT_NEAR(e.weight_sum, 1, 1e-9);
      EXPECT_GT(broken_ones, 0);
      EXPECT_EQ(e.valid_share, static_cast<double>(64 - broken_ones) / 64);
    }
  }
}

TEST(Explain, ABadStateHasNoRollouts) {
  Random random(11);
  Case c(random, testing::random_problem(random));
  c.buffers.observation[0] = std::nanf("");
  const Explanation e = c.explained();
  EXPECT_EQ(e.status, PlanStatus::bad_state);
  EXPECT_TRUE(e.rollouts.empty());
  EXPECT_TRUE(e.agrees());
}

}  // namespace
}  // namespace softmpc
