// SPDX-License-Identifier: Apache-2.0
// Tests hd/prior.h: clip, action terms, weights and the soft value at hand-computed points.
#include "softmpc/hd/prior.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

namespace softmpc {
namespace {

TEST(Prior, ClipKeepsTheBoxAndNan) {
  EXPECT_EQ(hd::clip(-2, -1, 1), -1);
  EXPECT_EQ(hd::clip(2, -1, 1), 1);
  EXPECT_EQ(hd::clip(0.25f, -1, 1), 0.25f);
  EXPECT_EQ(hd::clip(-1, -1, 1), -1);
  EXPECT_EQ(hd::clip(std::numeric_limits<float>::infinity(), -1, 1), 1);
  EXPECT_TRUE(std::isnan(hd::clip(std::nanf(""), -1, 1)));
}

TEST(Prior, ActionTerms) {
  EXPECT_FLOAT_EQ(hd::gaussian_term(0.5f, 3, -2, 4), -12);
  EXPECT_FLOAT_EQ(hd::uniform_term(0.5f, -3, 4), 18);
  EXPECT_FLOAT_EQ(hd::gaussian_cost(1, 0.5f, -12), -5);
  EXPECT_FLOAT_EQ(hd::uniform_cost(1, 0.5f, 18), -3.5f);
}

TEST(Prior, WeightsAreOneAtTheMinimumAndFallWithCost) {
  EXPECT_EQ(hd::weight(3, 3, 10), 1);
  EXPECT_NEAR(hd::weight(3.5f, 3, 2), std::exp(-1.0), 2e-7);
  EXPECT_LT(hd::weight(1e30f, 3, 10), 1e-37f);
  EXPECT_GE(hd::weight(1e30f, 3, 10), 0);
  EXPECT_TRUE(std::isnan(hd::weight(std::nanf(""), 3, 10)));
}

// V = lambda log(1/K sum exp(-S/lambda)) - c
TEST(Prior, SoftValueIsTheLogOfTheMeanExponential) {
  const double costs[3] = {1.5, 2, 4}, lambda = 0.7, c = 0.3, least = 1.5;
  double mean = 0, weights = 0;
  for (double s : costs) {
    mean += std::exp(-s / lambda) / 3;
    weights += std::exp((least - s) / lambda);
  }
  EXPECT_NEAR(hd::soft_value(least, weights, 3, lambda, c), lambda * std::log(mean) - c, 1e-12);
}

}  // namespace
}  // namespace softmpc
