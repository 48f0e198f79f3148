// SPDX-License-Identifier: Apache-2.0
// Tests for models/health.cpp: each warning on its side of its limit.
#include "health.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace softmpc {
namespace {

using Values = std::map<std::string, double>;

/// Of a healthy line.
Values healthy() {
  return {{"critic_loss", 2},  {"model_loss", 0.1},        {"q_bias_share", 2.7},
          {"q_bias", 270},     {"return_discounted", 100}, {"q_spread", 0.2},
          {"model_rmse", 0.4}, {"model_spread", 0.05}};
}

std::string warning(const std::string& name, double value, std::int64_t updates = 5000) {
  Values values = healthy();
  values[name] = value;
  const std::vector<Warning> all = warnings_of(values, updates);
  EXPECT_LE(all.size(), 1u);
  return all.empty() ? "" : all.front().text;
}

TEST(Health, AHealthyLineHasNone) {
  EXPECT_TRUE(warnings_of(healthy(), 5000).empty());
  EXPECT_TRUE(warnings_of({}, 5000).empty()) << "of no data";
}

TEST(Health, EachIsNamedWithWhatWasSeen) {
  EXPECT_EQ(warning("q_bias_share", 4.1),
            "critic runs away: Q is 370 where the discounted return that followed was 100; "
            "critic.layer_norm=true or a smaller critic.learning_rate may help");
  EXPECT_TRUE(warning("q_spread", 0.009).starts_with("critic is dead: Q differs by 0.009 of"));
  EXPECT_TRUE(warning("model_spread", 0.007).starts_with("ensemble collapsed: members differ by"));
  EXPECT_TRUE(warning("critic_loss", NAN).starts_with("critic_loss is not finite:"));
  EXPECT_TRUE(warning("model_loss", INFINITY).starts_with("model_loss is not finite:"));
}

TEST(Health, LimitsAreNotPassedByWhatIsNear) {
  EXPECT_EQ(warning("q_bias_share", 3.9), "");
  EXPECT_EQ(warning("q_bias_share", -30), "") << "a critic that is too low holds nothing up";
  EXPECT_EQ(warning("q_spread", 0.011), "");
  EXPECT_EQ(warning("model_spread", 0.009), "");
  Values values = healthy();
  values["model_spread"] = 1e-9;
  values["model_rmse"] = 0.09;
  EXPECT_TRUE(warnings_of(values, 5000).empty()) << "members that are right may agree";
}

TEST(Health, AYoungCriticIsNotBlamedButForWhatIsNotFinite) {
  EXPECT_EQ(warning("q_bias_share", 50, 999), "");
  EXPECT_EQ(warning("q_spread", 0, 999), "");
  EXPECT_NE(warning("critic_loss", NAN, 0), "");
}

}  // namespace
}  // namespace softmpc
