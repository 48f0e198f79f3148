// SPDX-License-Identifier: Apache-2.0
// Actions whose box is not centred on 0, has no end or is a single value: plans are relative to the
// neutral action, so that they start inside the box.
#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "softmpc/controller.h"
#include "softmpc/error.h"

namespace softmpc {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// x' = x + 0.1 (a_0 + a_1 + ...)
struct Integrator final : DynamicsModel {
  explicit Integrator(int actions) : nu(actions) {}
  int members() const override { return 1; }
  std::size_t scratch_bytes(int) const override { return 0; }
  void step(int, ConstColumns x, ConstColumns a, int n, const StepResult& out,
            void*) const override {
    for (int j = 0; j < n; ++j) {
      out.next[0][j] = x[0][j];
      for (int i = 0; i < nu; ++i) out.next[0][j] += 0.1f * a[i][j];
    }
  }
  int nu;
};

/// -(x' - target)^2
struct Reach final : RewardModel {
  explicit Reach(float wanted) : target(wanted) {}
  void reward(ConstColumns, ConstColumns, ConstColumns next, int n, float* out) const override {
    for (int j = 0; j < n; ++j) out[j] = -(next[0][j] - target) * (next[0][j] - target);
  }
  float target;
};

Bundle robot(std::vector<float> low, std::vector<float> high) {
  Bundle b;
  b.task = "own", b.nx = 1, b.nu = static_cast<int>(low.size()), b.dt = 0.1;
  b.members = NetWeights::zeros(1, NetSpec::mlp({1 + b.nu, 4, 1}));
  b.critics = NetWeights::zeros(1, NetSpec::mlp({1 + b.nu, 4, 1}));
  b.action_low = std::move(low), b.action_high = std::move(high);
  b.planner.horizon = 10;
  return b;
}

struct Drive {
  int bad = 0;  // plans that are not ok
  float x = 0;
  std::vector<float> last;
};

Drive drive(const Bundle& bundle, float target, int ticks = 60) {
  const Integrator model(bundle.nu);
  const Reach reward(target);
  Controller controller(bundle, &reward, {.dynamics = &model});
  Drive d;
  for (int tick = 0; tick < ticks; ++tick) {
    const Plan& plan = controller.plan({&d.x, 1});
    d.bad += plan.status != PlanStatus::ok;
    d.last.assign(plan.action.begin(), plan.action.end());
    for (const float a : plan.action) d.x += 0.1f * a;
  }
  return d;
}

struct Box {
  float low, high;
  double variance;
};

TEST(OneSided, PlansOfTheUniformPriorAreValidInEveryBox) {
  for (const Box& box : {Box{-3, 3, 0.1}, Box{0, 1, 0.05}, Box{0.5f, 3, 0.1}, Box{-2, 0, 0.1}}) {
    SCOPED_TRACE(std::to_string(box.low) + ".." + std::to_string(box.high));
    Bundle bundle = robot({box.low}, {box.high});
    bundle.planner.prior = Prior::uniform;
    bundle.planner.variance = {box.variance};
    const float target = box.high > 0 ? 5.0f : -5.0f;
    const Drive d = drive(bundle, target);
    EXPECT_LT(d.bad, 6);
    EXPECT_GT(d.x * target, 5.0f) << "moved to " << d.x;
  }
}

TEST(OneSided, PlansStartFromTheNeutralActionAndAppendIt) {
  Bundle bundle = robot({0, 0.5f, -1, -3}, {1, 3, 3, -1});
  bundle.planner.variance = {1e-9};
  const Integrator model(4);
  const Reach reward(0);
  const auto actions = [&] {
    Controller controller(bundle, &reward, {.dynamics = &model});
    const float bad = std::nanf("");  // no update: the start plan itself is executed
    const Plan& plan = controller.plan({&bad, 1});
    EXPECT_EQ(plan.status, PlanStatus::bad_state);
    EXPECT_EQ(plan.sequence.back(), 0.0f);
    return std::vector<float>(plan.action.begin(), plan.action.end());
  };
  const auto expect_near = [](const std::vector<float>& got, const std::vector<float>& expected) {
    for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(got[i], expected[i], 1e-3) << i;
  };
  expect_near(actions(), {0.5f, 1.75f, 0, -2});
  bundle.planner.neutral = {0.2f, 0.6f, 2, -3};
  expect_near(actions(), {0.2f, 0.6f, 2, -2.9999f});
}

// The Gaussian prior is charged around n: with a reward that nothing changes, plans stay near n.
TEST(OneSided, TheGaussianPriorPullsTowardsTheNeutralAction) {
  Bundle bundle = robot({0.5f}, {3.5f});
  bundle.planner.variance = {0.05};
  bundle.planner.temperature = 100;
  const Drive d = drive(bundle, 0, 30);
  EXPECT_NEAR(d.last[0], 2, 0.5);
}

TEST(OneSided, UnboundedActionsPlanWithTheGaussianPrior) {
  for (const Box& box :
       {Box{-kInfinity, kInfinity, 0.3}, Box{0.2f, kInfinity, 0.3}, Box{-kInfinity, 1, 0.3}}) {
    Bundle bundle = robot({box.low}, {box.high});
    bundle.planner.variance = {box.variance};
    const Drive d = drive(bundle, 5, 100);
    EXPECT_EQ(d.bad, 0);
    EXPECT_GT(d.x, 3) << box.low << ".." << box.high;
    EXPECT_TRUE(std::isfinite(d.x));
  }
}

TEST(OneSided, AFixedActionKeepsItsValueAndChangesNoWeight) {
  for (const Prior prior : {Prior::gaussian, Prior::uniform}) {
    Bundle with = robot({-1, 0.7f}, {1, 0.7f}), without = robot({-1}, {1});
    with.planner.prior = without.planner.prior = prior;
    const Drive a = drive(with, 0.7f, 1), b = drive(without, 0.7f - 0.07f, 1);
    EXPECT_EQ(a.last[1], 0.7f);
    EXPECT_EQ(a.bad, 0);
    EXPECT_EQ(b.bad, 0);

    // the same problem: the fixed action's 0.07 a step is in the dynamics of the other
    const Reach reward(1);
    const Integrator two(2);
    struct Shifted final : DynamicsModel {
      int members() const override { return 1; }
      std::size_t scratch_bytes(int) const override { return 0; }
      void step(int, ConstColumns x, ConstColumns u, int n, const StepResult& out,
                void*) const override {
        for (int j = 0; j < n; ++j) out.next[0][j] = x[0][j] + 0.1f * u[0][j] + 0.1f * 0.7f;
      }
    } shifted;
    Controller first(with, &reward, {.dynamics = &two});
    Controller second(without, &reward, {.dynamics = &shifted});
    const float x = 0;
    const Plan& p = first.plan({&x, 1});
    const Plan& q = second.plan({&x, 1});
    EXPECT_NEAR(p.value, q.value, 1e-3 * (1 + std::abs(q.value)));
    EXPECT_NEAR(p.effective_samples, q.effective_samples, 1e-2 * q.effective_samples);
    EXPECT_EQ(p.valid_share, q.valid_share);
    EXPECT_NEAR(p.action[0], q.action[0], 1e-3);
  }
}

TEST(OneSided, WhatCannotBePlannedIsRefusedInOneLine) {
  const auto refusal = [](const Bundle& bundle) -> std::string {
    const Integrator model(bundle.nu);
    const Reach reward(0);
    try {
      Controller(bundle, &reward, {.dynamics = &model});
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  };
  Bundle bundle = robot({-kInfinity}, {3});
  bundle.planner.prior = Prior::uniform;
  EXPECT_EQ(refusal(bundle),
            "planner: action 0 has the bounds -inf..3; planner.prior uniform needs finite ones, "
            "gaussian does not");
  bundle.planner.prior = Prior::gaussian;
  EXPECT_EQ(refusal(bundle), "accepted");
  bundle.policy = NetWeights::zeros(1, NetSpec::mlp({1, 4, 1}));
  EXPECT_EQ(refusal(bundle),
            "policy: the bounds of action 0 are infinite; a policy's output is scaled to finite "
            "ones");
  bundle = robot({0, 0}, {1, 1});
  bundle.planner.neutral = {0.5, 1.5};
  EXPECT_EQ(refusal(bundle),
            "planner: action 1 has the bounds 0..1; planner.neutral 1.5 must lie in them");
}

}  // namespace
}  // namespace softmpc
