// SPDX-License-Identifier: Apache-2.0
// Tests learn/policy_rollout.h: the gradient against central differences of the objective, and what
// critics learn of the rollouts, both against a few plain loops in double precision.
#include "learn/policy_rollout.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <Eigen/LU>

#include "core/planner_oracle.h"
#include "learn/initialisation.h"
#include "learn/net_specs.h"
#include "models/learner_cases.h"

namespace softmpc {
namespace {

using oracle::Vector;
using testing::Random;

LearnerSetup random_setup(Random& random) {
  LearnerSetup s;
  s.nx = random.whole(1, 6);
  s.nu = random.whole(1, 4);
  s.seed = static_cast<std::uint64_t>(random.whole(0, 1 << 30));
  s.model.members = random.whole(1, 4);
  s.model.width = random.whole(3, 24);
  s.critic.width = random.whole(3, 24);
  s.policy.width = random.whole(3, 24);
  s.model.layers = random.whole(1, 3);
  s.model.layer_norm = random.coin();
  s.critic.layer_norm = random.coin();
  s.model.loss = random.coin() ? Loss::mse : Loss::gaussian_nll;
  s.outputs = {true, random.coin()};
  s.policy.objective = PolicyObjective::rollout;
  PlannerConfig& p = s.planner;
  p.horizon = random.whole(1, 5);
  p.gamma = random.real(0.8, 1);
  p.temperature = random.real(0.1, 1.5);
  p.prior = random.whole(0, 3) == 0 ? Prior::uniform : Prior::gaussian;
  p.handle_terminations = random.coin();
  p.termination_cost = s.seed % 2 == 0 ? 0 : 1.5;
  for (int i = 0; i < s.nu; ++i) {
    testing::Box box = {0, 0};
    while (box.low == box.high) box = testing::random_box(random, /*endless=*/false);
    s.action_low.push_back(box.low);
    s.action_high.push_back(box.high);
  }
  p.variance.assign(s.nu, 0);
  for (double& v : p.variance) v = random.real(0.1, 0.5);
  if (random.coin())
    p.covariance = random_covariance(random, {s.nx, s.nu, s.action_low, s.action_high, 1});
  return s;
}

/// What the gradient is of.
class Objective {
 public:
  Objective(const LearnerSetup& s, std::uint32_t update, NetWeights members, NetWeights critics,
            NetWeights policy)
      : s_(s),
        update_(update),
        members_(std::move(members)),
        critics_(std::move(critics)),
        policy_(std::move(policy)),
        neutral_(neutral_action(s.planner, {s.nx, s.nu, s.action_low, s.action_high, 1})) {
    Eigen::MatrixXd sigma = Eigen::MatrixXd::Zero(s.nu, s.nu);
    for (int i = 0; i < s.nu; ++i) {
      sigma(i, i) = s.planner.variance[i];
      for (int j = 0; j < s.nu && !s.planner.covariance.empty(); ++j)
        sigma(i, j) = s.planner.covariance[i][j];
    }
    inverse_ = sigma.inverse();
  }

  /// The soft return of one state, z_i of step t being changed by `change`.
  double at(Vector x, int step, int component, double change) {
    const PlannerConfig& p = s_.planner;
    double discount = 1, sum = 0;
    for (int t = 0;; ++t, discount *= p.gamma) {
      Vector z = oracle::evaluate_mlp(policy_, 0, x);
      if (t == step) z[component] += change;
      const Vector joined = with_action(x, z);
      if (p.prior == Prior::gaussian) sum -= discount * price(joined.tail(s_.nu));
      if (t == p.horizon) return sum + discount * oracle::evaluate_mlp(critics_, 0, joined)[0];
      const int member = hd::draw_policy_member(s_.seed, update_, t, s_.model.members);
      const Vector y = oracle::evaluate_mlp(members_, member, joined);
      sum += discount * y[s_.nx];
      x += y.head(s_.nx);
      if (!p.handle_terminations) continue;
      const double distance =
          s_.outputs.termination ? -y[s_.nx + 1] : testing::TestRule::kEnd - x[0];
      margin = std::min(margin, std::abs(distance));
      if (distance <= 0) return sum;
    }
  }

  /// Of the rollout from one state, per step: [x_t, a_t], what `targets` make of it, and whether
  /// the rollout has come so far.
  struct Imagined {
    Vector joined;
    double target;
    bool alive;
  };
  std::vector<Imagined> imagine(Vector x, const NetWeights& targets) {
    const PlannerConfig& p = s_.planner;
    std::vector<Imagined> steps;
    std::vector<double> reward;
    std::vector<bool> ends;
    bool alive = true;
    for (int t = 0; t <= p.horizon; ++t) {
      const Vector joined = with_action(x, oracle::evaluate_mlp(policy_, 0, x));
      steps.push_back({joined, 0, alive});
      if (t == p.horizon) break;
      const int member = hd::draw_policy_member(s_.seed, update_, t, s_.model.members);
      const Vector y = oracle::evaluate_mlp(members_, member, joined);
      x += y.head(s_.nx);
      const double distance =
          s_.outputs.termination ? -y[s_.nx + 1] : testing::TestRule::kEnd - x[0];
      if (p.handle_terminations) margin = std::min(margin, std::abs(distance));
      reward.push_back(y[s_.nx]);
      ends.push_back(p.handle_terminations && distance <= 0);
      alive = alive && !ends.back();
    }
    double least = 1e300;
    for (int c = 0; c < targets.stack; ++c)
      least = std::min(least, oracle::evaluate_mlp(targets, c, steps.back().joined)[0]);
    steps.back().target = least;
    for (int t = p.horizon - 1; t >= 0; --t) {
      const Imagined& next = steps[t + 1];
      const double charged = p.prior == Prior::gaussian ? price(next.joined.tail(s_.nu)) : 0;
      steps[t].target =
          reward[t] + (ends[t] ? -p.termination_cost : p.gamma * (next.target - charged));
    }
    return steps;
  }

  double margin = 1e300;  ///< the least distance of a state from ending otherwise

 private:
  Vector with_action(const Vector& x, const Vector& z) const {
    Vector joined(s_.nx + s_.nu);
    joined.head(s_.nx) = x;
    for (int i = 0; i < s_.nu; ++i) {
      const double low = s_.action_low[i], high = s_.action_high[i];
      joined[s_.nx + i] = (high + low) / 2 + (high - low) / 2 * std::tanh(z[i]);
    }
    return joined;
  }
  double price(Vector v) const {
    for (int i = 0; i < s_.nu; ++i) v[i] -= neutral_[i];
    return s_.planner.temperature / 2 * v.dot(inverse_ * v);
  }

  LearnerSetup s_;
  std::uint32_t update_;
  NetWeights members_, critics_, policy_;
  std::vector<float> neutral_;
  Eigen::MatrixXd inverse_;
};

struct Tally {
  int compared = 0, ended = 0;  // entries; those behind an end, which are zero
};

void compare(const LearnerSetup& s, const ReplayBatch& batch, const TrainBlock& gradient,
             Objective& objective, Tally& tally) {
  constexpr double kChange = 1e-4;
  const int n = batch.size, lanes = gradient.lanes / (s.planner.horizon + 1);
  double largest = 0;
  for (float g : gradient.data) largest = std::max(largest, std::abs(double{g}));
  for (int j = 0; j < n; ++j) {
    Vector x(s.nx);
    for (int i = 0; i < s.nx; ++i) x[i] = batch.x[j * s.nx + i];
    objective.margin = 1e300;
    objective.at(x, 0, 0, 0);
    if (objective.margin < 1e-2) continue;  // a change of z may end it elsewhere
    for (int t = 0; t <= s.planner.horizon; ++t)
      for (int i = 0; i < s.nu; ++i) {
        const double slope =
            (objective.at(x, t, i, kChange) - objective.at(x, t, i, -kChange)) / (2 * kChange);
        const float got = gradient.row(i)[t * lanes + j];
        ASSERT_NEAR(got, -slope / n, 2e-5 * largest + 1e-9)
            << "step " << t << ", row " << j << ", action " << i;
        ++tally.compared;
        tally.ended += slope == 0;
      }
  }
}

struct Nets {
  EnsembleLearner members;
  CriticLearner critics;
  FusedMlp policy;
};

Nets random_nets(Random& random, const LearnerSetup& s) {
  Nets n = {{s.model, s.nx, s.nu, s.outputs, s.precision, s.seed},
            {s.critic, s.nx, s.nu, s.seed},
            {1, policy_spec(s.policy, s.nx, s.nu), s.policy.learning_rate}};
  n.policy.initialise(s.seed, kPolicy);
  if (random.coin())
    testing::set_normalisation(n.members.normalisation(), n.critics.normalisation(), s);
  return n;
}

void run_case(std::uint64_t seed, Tally& tally) {
  Random random(seed);
  LearnerSetup s = random_setup(random);
  const testing::TestReward reward(s.nx, s.nu, true);
  s.reward = &reward;
  const int n = random.whole(1, 40);
  SCOPED_TRACE("seed " + std::to_string(seed) + ": N " + std::to_string(n) + ", " +
               testing::describe(s.planner, {s.nx, s.nu, {}, {}, 1}, 1));
  auto [members, critics, policy] = random_nets(random, s);
  const NetNormalisation constants = policy_normalisation(critics.normalisation(), s.nx, s.nu);
  const ReplayBatch batch = testing::random_batch(random, s, n);
  const auto update = static_cast<std::uint32_t>(random.whole(0, 1 << 30));

  PolicyRollout rollout(s);
  rollout.forward(testing::random_batch(random, s, 40), members, policy, constants, 0);
  rollout.backward(members, critics, policy, constants);
  rollout.forward(batch, members, policy, constants, update);  // nothing of the first is left
  rollout.backward(members, critics, policy, constants);
  ASSERT_EQ(rollout.gradient().rows, s.nu);
  ASSERT_EQ(rollout.input().rows, s.nx);
  Objective objective(s, update, members.weights(), critics.weights(), policy.weights(constants));
  compare(s, batch, rollout.gradient(), objective, tally);
}

TEST(PolicyRollout, TheGradientIsThatOfTheSoftReturn) {
  Tally tally;
  for (std::uint64_t seed = 1; seed <= 60 && !HasFailure(); ++seed) run_case(seed, tally);
  std::printf("seeds 1..60: %d slopes compared, %d of them behind an end\n", tally.compared,
              tally.ended);
  EXPECT_GE(tally.compared, 5000);
  EXPECT_GE(tally.ended, 500);
}

void compare_imagined(const LearnerSetup& s, const ReplayBatch& batch, const ImaginedRows& rows,
                      int steps, const NetWeights& targets, Objective& objective, Tally& tally) {
  const int n = batch.size;
  ASSERT_EQ(rows.target.size(), static_cast<std::size_t>(n) * steps);
  for (int j = 0; j < n; ++j) {
    Vector x(s.nx);
    for (int i = 0; i < s.nx; ++i) x[i] = batch.x[j * s.nx + i];
    objective.margin = 1e300;
    const auto expected = objective.imagine(x, targets);
    if (objective.margin < 1e-3) continue;
    double scale = 1;
    for (const auto& e : expected) scale = std::max(scale, std::abs(e.target));
    for (int t = 0; t < steps; ++t) {
      const int at = t * n + j;
      ASSERT_EQ(rows.alive[at], expected[t].alive ? 1 : 0) << "step " << t << ", row " << j;
      if (!expected[t].alive) {
        ++tally.ended;
        continue;
      }
      ASSERT_NEAR(rows.target[at], expected[t].target, 2e-5 * scale) << "step " << t;
      for (int i = 0; i < s.nx + s.nu; ++i)
        ASSERT_NEAR(rows.input.row(i)[at], expected[t].joined[i],
                    2e-5 * (1 + std::abs(expected[t].joined[i])));
      ++tally.compared;
    }
  }
}

void run_imagined_case(std::uint64_t seed, Tally& tally) {
  Random random(seed);
  LearnerSetup s = random_setup(random);
  s.critic.count = random.whole(1, 3);
  const testing::TestReward reward(s.nx, s.nu, true);
  s.reward = &reward;
  const int n = random.whole(1, 40), steps = random.whole(1, s.planner.horizon);
  SCOPED_TRACE("seed " + std::to_string(seed) + ": N " + std::to_string(n) + ", steps " +
               std::to_string(steps) + ", " +
               testing::describe(s.planner, {s.nx, s.nu, {}, {}, 1}, 1));
  auto [members, critics, policy] = random_nets(random, s);
  const ReplayBatch other = testing::random_batch(random, s, 9);
  const std::vector<float> y(9, 3.0f);
  for (int i = 0; i < 5; ++i) critics.update(other, y);  // targets lag behind
  const NetNormalisation constants = policy_normalisation(critics.normalisation(), s.nx, s.nu);
  const ReplayBatch batch = testing::random_batch(random, s, n);
  const auto update = static_cast<std::uint32_t>(random.whole(0, 1 << 30));
  PolicyRollout rollout(s);
  rollout.forward(testing::random_batch(random, s, 40), members, policy, constants, 0);
  rollout.imagine(critics, s.planner.horizon);
  rollout.forward(batch, members, policy, constants, update);
  Objective objective(s, update, members.weights(), critics.weights(), policy.weights(constants));
  compare_imagined(s, batch, rollout.imagine(critics, steps), steps,
                   critics.target_mlp().weights(critics.normalisation()), objective, tally);
}

TEST(PolicyRollout, CriticsLearnTheReturnOfTheRestOfIt) {
  Tally tally;
  for (std::uint64_t seed = 1; seed <= 60 && !HasFailure(); ++seed) run_imagined_case(seed, tally);
  std::printf("seeds 1..60: %d rows compared, %d behind an end\n", tally.compared, tally.ended);
  EXPECT_GE(tally.compared, 1500);
  EXPECT_GE(tally.ended, 100);
}

}  // namespace
}  // namespace softmpc
