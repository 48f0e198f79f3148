// SPDX-License-Identifier: Apache-2.0
// Tests for softmpc/rules.h: one formula as models of the CPU, and as what a device is given.
#include "softmpc/rules.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

SOFTMPC_RULES(
    kSpringText, namespace robot {
      // comments do not reach the text; 1 parameter
      struct Spring {
        SOFTMPC_HD explicit Spring(const float* p) : stiffness(p[0]) {}
        static constexpr bool has_termination = true;
        template <class X, class A, class Next>
        SOFTMPC_HD float reward(const X& x, const A& a, const Next& next) const {
          return -stiffness * x[0] * x[0] - a[0] * a[0] + next[1];
        }
        template <class Next>
        SOFTMPC_HD bool terminated(const Next& next) const {
          return next[0] > 1;
        }
        template <class X, class A, class Next>
        SOFTMPC_HD void step(const X& x, const A& a, Next& next) const {
          next[0] = x[0] + x[1];
          next[1] = x[1] + a[0] - stiffness * softmpc::hd::tanh(x[0]);
        }
        template <class X, class A>
        SOFTMPC_HD float value(const X& x, const A& a) const {
          return x[0] * stiffness + a[0];
        }
        float stiffness;
      };
      template <int n>
      struct Still {
        static constexpr bool has_termination = false;
        template <class X, class A, class Next>
        SOFTMPC_HD static float reward(const X& x, const A&, const Next&) {
          return x[n];
        }
      };
    })

namespace softmpc {
namespace {

struct Nameless : robot::Still<0> {};

std::string message_of(auto&& call) {
  try {
    call();
  } catch (const UsageError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Rules, ModelsAreTheFormulaOfEachLane) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 engine(seed);
  std::uniform_real_distribution<float> uniform(-2, 2);
  const int count = std::uniform_int_distribution(1, 40)(engine), stride = count + 3;
  std::vector<float> x(2 * stride), a(stride), next(2 * stride), got(2 * stride), out(count);
  for (auto* values : {&x, &a, &next}) {
    for (float& value : *values) value = uniform(engine);
  }
  const ConstColumns xs{x.data(), stride}, as{a.data(), stride}, nexts{next.data(), stride};
  const RuleReward<robot::Spring> reward(kSpringText, {0.5f});
  const RuleDynamics<robot::Spring> dynamics(kSpringText, {0.5f});
  const RuleValue<robot::Spring> value(kSpringText, {0.5f});

  reward.reward(xs, as, nexts, count, out.data());
  for (int j = 0; j < count; ++j)
    EXPECT_FLOAT_EQ(out[j], -0.5f * x[j] * x[j] - a[j] * a[j] + next[stride + j]);
  std::vector<std::uint8_t> ended(count);
  EXPECT_TRUE(reward.has_termination());
  reward.terminated(nexts, count, ended.data());
  for (int j = 0; j < count; ++j) EXPECT_EQ(ended[j], next[j] > 1 ? 1 : 0);
  dynamics.step(0, xs, as, count, {{got.data(), stride}, nullptr, nullptr}, nullptr);
  for (int j = 0; j < count; ++j) {
    EXPECT_FLOAT_EQ(got[j], x[j] + x[stride + j]);
    EXPECT_NEAR(got[stride + j], x[stride + j] + a[j] - 0.5f * std::tanh(x[j]), 1e-5);
  }
  value.evaluate(xs, as, count, out.data(), nullptr);
  for (int j = 0; j < count; ++j) EXPECT_FLOAT_EQ(out[j], 0.5f * x[j] + a[j]);
}

TEST(Rules, ADeviceGetsNameTextAndParameters) {
  const RuleReward<robot::Spring> reward(kSpringText, {0.5f});
  const DeviceRules rules = reward.device_rules();
  EXPECT_EQ(rules.type, "robot::Spring");
  EXPECT_NE(rules.source.find("struct Spring"), std::string::npos);
  EXPECT_NE(rules.source.find("SOFTMPC_HD"), std::string::npos);  // the device's own meaning of it
  EXPECT_EQ(rules.source.find("comments"), std::string::npos);
  EXPECT_EQ(rules.parameters, std::vector<float>{0.5f});
  EXPECT_EQ(RuleReward<robot::Still<3>>(kSpringText).device_rules().type, "robot::Still<3>");
}

TEST(Rules, WithoutTextOnlyTheCpuPlans) {
  const RuleReward<Nameless> reward;
  EXPECT_TRUE(reward.device_rules().type.empty());
  EXPECT_FALSE(reward.has_termination());
  const float x = 3;
  float out = 0;
  reward.reward({&x, 1}, {&x, 1}, {&x, 1}, 1, &out);
  EXPECT_EQ(out, 3);
}

TEST(Rules, ANameThatADeviceCannotUseIsRefused) {
  EXPECT_EQ(message_of([] { RuleReward<Nameless> reward(kSpringText); }).find("rules: '"), 0u);
  struct Local : robot::Still<0> {};
  EXPECT_EQ(message_of([] { RuleReward<Local> reward(kSpringText); }).find("rules: '"), 0u);
}

TEST(Rules, ParametersChangeButNotTheirNumber) {
  RuleValue<robot::Spring> value(kSpringText, {0.5f});
  value.set_parameters(std::vector{2.0f});
  const float x = 3, a = 1;
  float out = 0;
  value.evaluate({&x, 1}, {&a, 1}, 1, &out, nullptr);
  EXPECT_EQ(out, 7);
  EXPECT_EQ(value.device_rules().parameters, std::vector{2.0f});
  EXPECT_EQ(message_of([&] {
              value.set_parameters(std::vector{1.0f, 2.0f});
            }),
            "rules: 2 parameters, must be 1 as at first");
}

}  // namespace
}  // namespace softmpc
