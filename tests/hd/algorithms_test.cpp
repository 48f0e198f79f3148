// SPDX-License-Identifier: Apache-2.0
// Tests hd/priority.h, hd/moments.h and hd/order.h at points computed by hand.
#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "softmpc/hd/moments.h"
#include "softmpc/hd/order.h"
#include "softmpc/hd/priority.h"

namespace softmpc {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kLargest = std::numeric_limits<float>::max();

TEST(Priority, OfAnErrorAndItsWeight) {
  EXPECT_FLOAT_EQ(hd::td_priority(-4, 0.5f, 0.01f), 2.01f);
  EXPECT_FLOAT_EQ(hd::td_priority(0, 0.6f, 0.01f), 0.01f);
  EXPECT_FLOAT_EQ(hd::importance_weight(0.25f, 4, 0.4f), 1);  // drawn as often as by chance
  EXPECT_FLOAT_EQ(hd::importance_weight(0.01f, 25, 0.5f), 2);
  EXPECT_EQ(hd::importance_weight(0.3f, 7, 0), 1);
}

TEST(Priority, WhatCounts) {
  EXPECT_EQ(hd::counted_priority(kLargest), kLargest);
  EXPECT_EQ(hd::counted_priority(1e-45f), 1e-45f);
  for (float p : {0.0f, -0.0f, -1.0f, kNan, kInfinity, -kInfinity})
    EXPECT_EQ(hd::counted_priority(p), 0) << p;
}

TEST(Priority, UnitsKeepRatiosAndNeverOverflow) {
  EXPECT_EQ(hd::entry_bits(1), 0);
  EXPECT_EQ(hd::entry_bits(5), 3);
  EXPECT_EQ(hd::entry_bits(8), 3);
  EXPECT_EQ(hd::entry_bits(0xffffffffu), 32);
  for (float largest : {1e-45f, 1e-30f, 0.75f, 1.0f, kLargest})
    for (int bits : {0, 1, 20, 32}) {
      const int shift = hd::priority_shift(largest, bits);
      const std::uint64_t units = hd::priority_units(largest, shift);
      // 2^bits of them in [2^61, 2^62]
      EXPECT_GE(units, std::uint64_t{1} << (61 - bits)) << largest << ' ' << bits;
      EXPECT_LE(units, std::uint64_t{1} << (62 - bits)) << largest << ' ' << bits;
      EXPECT_EQ(hd::priority_units(0, shift), 0u);
      EXPECT_GE(hd::priority_units(1e-45f, shift), 1u);
    }
  const int shift = hd::priority_shift(8, 10);
  EXPECT_EQ(hd::priority_units(8, shift), 16 * hd::priority_units(0.5f, shift));
}

TEST(Priority, AWordFallsAmongTheUnits) {
  EXPECT_EQ(hd::drawn_unit(0, 10), 0u);
  EXPECT_EQ(hd::drawn_unit(0x80000000u, 10), 5u);
  EXPECT_EQ(hd::drawn_unit(0xffffffffu, 10), 9u);
  const std::uint64_t total = (std::uint64_t{1} << 62) + 12345;
  EXPECT_EQ(hd::drawn_unit(0x80000000u, total), total / 2);
  // floor((2^32 - 1) total / 2^32) = total - ceil(total / 2^32)
  EXPECT_EQ(hd::drawn_unit(0xffffffffu, total), total - (total >> 32) - 1);
}

TEST(Moments, OfFourNumbers) {
  double mean = 0, square = 0, n = 0;
  for (double x : {2.0, 4.0, 4.0, 6.0}) hd::add_sample(x, ++n, mean, square);
  EXPECT_DOUBLE_EQ(mean, 4);
  EXPECT_DOUBLE_EQ(square, 8);
  float m, s;
  hd::mean_and_std(4, mean, square, m, s);
  EXPECT_FLOAT_EQ(m, 4);
  EXPECT_FLOAT_EQ(s, std::sqrt(2.0f));
}

TEST(Moments, MergedAreThoseOfAll) {
  double mean = 3, square = 2;                  // of 2, 4
  hd::merge_moments(2, mean, square, 2, 5, 2);  // and of 4, 6
  EXPECT_DOUBLE_EQ(mean, 4);
  EXPECT_DOUBLE_EQ(square, 8);
  double none = 0, nothing = 0;  // into no samples: exactly the others
  hd::merge_moments(0, none, nothing, 3, 0.1, 0.7);
  EXPECT_EQ(none, 0.1);
  EXPECT_EQ(nothing, 0.7);
}

TEST(Moments, FewSamplesOrNoVariationLeaveNumbersAsTheyAre) {
  float m, s;
  hd::mean_and_std(0, 0, 0, m, s);
  EXPECT_EQ(m, 0);
  EXPECT_EQ(s, 1);
  hd::mean_and_std(1, 5, 0, m, s);
  EXPECT_EQ(m, 0);
  EXPECT_EQ(s, 1);
  hd::mean_and_std(10, -1e4, 10 * 1e-6, m, s);  // 1e-3 beside 1e4: rounding
  EXPECT_EQ(m, -1e4f);
  EXPECT_EQ(s, 1);
}

TEST(Order, KeysOrderAsCostsDo) {
  const std::vector<float> rising = {-kLargest, -2, -1, -1e-45f, 0, 1e-45f, 1, 2, kLargest};
  for (std::size_t i = 1; i < rising.size(); ++i)
    EXPECT_LT(hd::cost_key(rising[i - 1]), hd::cost_key(rising[i])) << rising[i];
  EXPECT_EQ(hd::cost_key(-0.0f), hd::cost_key(0.0f));
  EXPECT_LT(hd::cost_key(kLargest), hd::kInvalidCost);
  for (float cost : {kNan, -kNan, kInfinity, -kInfinity})
    EXPECT_EQ(hd::cost_key(cost), hd::kInvalidCost) << cost;
}

TEST(Order, QuantilesAndTails) {
  const auto x = [](int i) { return std::vector<double>{1, 2, 4, 8}[i]; };
  EXPECT_EQ(hd::quantile(x, 4, 0), 1);
  EXPECT_EQ(hd::quantile(x, 4, 0.5), 3);
  EXPECT_DOUBLE_EQ(hd::quantile(x, 4, 0.9), 6.8);
  EXPECT_EQ(hd::quantile(x, 4, 1), 8);
  EXPECT_EQ(hd::quantile(x, 1, 0.7), 1);
  // the worst 0.375 of four costs: the last, and half of the one before
  const double half[] = {0, 0, 0.5, 1}, all[] = {1, 1, 1, 1};
  for (int i = 0; i < 4; ++i) {
    EXPECT_DOUBLE_EQ(hd::tail_weight(i, 4, 0.625), half[i]);
    EXPECT_EQ(hd::tail_weight(i, 4, 0), all[i]);
  }
}

}  // namespace
}  // namespace softmpc
