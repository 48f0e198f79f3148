// SPDX-License-Identifier: Apache-2.0
// Tests hd/math.h: the stated error bounds against long double, and what NaN and infinity do.
#include "softmpc/hd/math.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include <gtest/gtest.h>

namespace softmpc {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

/// Calls f for `count` floats spread over [low, high], and for both ends.
template <class F>
void sweep(float low, float high, int count, const F& f) {
  for (int i = 0; i <= count; ++i)
    f(static_cast<float>(low + (static_cast<double>(high) - low) * i / count));
}

double relative(float got, long double exact) {
  return static_cast<double>(std::abs((got - exact) / exact));
}

TEST(Math, ExpStaysWithinItsBound) {
  double worst = 0;
  sweep(-87.3f, 88.3f, 2'000'000, [&](float x) {
    worst = std::max(worst, relative(hd::exp(x), std::exp(static_cast<long double>(x))));
  });
  sweep(-1e-3f, 1e-3f, 100'000, [&](float x) {
    worst = std::max(worst, relative(hd::exp(x), std::exp(static_cast<long double>(x))));
  });
  RecordProperty("worst", std::to_string(worst));
  EXPECT_LT(worst, 2e-7);
  EXPECT_EQ(hd::exp(0.0f), 1.0f);
}

TEST(Math, ExpClampsAndKeepsNan) {
  EXPECT_EQ(hd::exp(-1e30f), hd::exp(-87.3f));
  EXPECT_EQ(hd::exp(-kInf), hd::exp(-87.3f));
  EXPECT_GT(hd::exp(-kInf), 0.0f);
  EXPECT_EQ(hd::exp(kInf), hd::exp(88.3f));
  EXPECT_TRUE(std::isfinite(hd::exp(kInf)));
  EXPECT_TRUE(std::isnan(hd::exp(kNan)));
}

TEST(Math, LogStaysWithinItsBound) {
  double worst = 0;
  for (std::uint32_t bits = 0x00800000u; bits < 0x7f800000u; bits += 997) {
    const float x = hd::bits_to_float(bits);
    if (x == 1.0f) continue;
    worst = std::max(worst, relative(hd::log(x), std::log(static_cast<long double>(x))));
  }
  // where the result is smallest
  for (std::uint32_t bits = 0x3f7f0000u; bits < 0x3f810000u; ++bits) {
    const float x = hd::bits_to_float(bits);
    if (x == 1.0f) continue;
    worst = std::max(worst, relative(hd::log(x), std::log(static_cast<long double>(x))));
  }
  EXPECT_LT(worst, 2e-7);
  EXPECT_EQ(hd::log(1.0f), 0.0f);
}

TEST(Math, SiluIsAccurateWhereNetworksWork) {
  // relative where the result is normal; silu(z) ~ z e^z for very negative z
  double worst = 0;
  sweep(-80.0f, 88.0f, 1'000'000, [&](float z) {
    if (z == 0) return;
    const long double exact = z / (1 + std::exp(-static_cast<long double>(z)));
    worst = std::max(worst, relative(hd::silu(z), exact));
  });
  EXPECT_LT(worst, 4e-7);
  EXPECT_EQ(hd::silu(0.0f), 0.0f);
  EXPECT_EQ(hd::silu(1e30f), 1e30f);
  EXPECT_LT(std::abs(hd::silu(-1e30f)), 1e-7f);
  EXPECT_EQ(hd::silu(kInf), kInf);
  EXPECT_TRUE(std::isnan(hd::silu(kNan)));
}

TEST(Math, TanhStaysWithinItsBound) {
  double worst = 0;
  sweep(-50.0f, 50.0f, 1'000'000, [&](float z) {
    const long double error = hd::tanh(z) - std::tanh(static_cast<long double>(z));
    worst = std::max(worst, static_cast<double>(std::abs(error)));
    EXPECT_LE(std::abs(hd::tanh(z)), 1.0f);
  });
  EXPECT_LT(worst, 2e-7);
  EXPECT_EQ(hd::tanh(kInf), 1.0f);
  EXPECT_EQ(hd::tanh(-kInf), -1.0f);
  EXPECT_TRUE(std::isnan(hd::tanh(kNan)));
}

TEST(Math, SinCosOfTurnsStayWithinTheirBound) {
  double worst = 0;
  for (std::uint32_t i = 0; i < 1u << 24; i += 3) {
    const float u = static_cast<float>(i) * 0x1p-24f;
    float sine, cosine;
    hd::sincos_turns(u, sine, cosine);
    const double angle = 2 * std::numbers::pi * u;
    worst = std::max({worst, std::abs(sine - std::sin(angle)), std::abs(cosine - std::cos(angle))});
  }
  EXPECT_LT(worst, 2e-7);
}

TEST(Math, SinCosAreExactAtTheQuarterTurns) {
  const float expected[4][2] = {{0, 1}, {1, 0}, {0, -1}, {-1, 0}};
  for (int q = 0; q < 4; ++q) {
    float sine, cosine;
    hd::sincos_turns(0.25f * static_cast<float>(q), sine, cosine);
    EXPECT_EQ(sine, expected[q][0]) << q;
    EXPECT_EQ(cosine, expected[q][1]) << q;
  }
}

TEST(Math, SinCosOfAnglesStayWithinTheirBound) {
  double worst = 0;
  const auto check = [&](float x) {
    float sine, cosine;
    hd::sincos(x, sine, cosine);
    const double angle = x;
    worst = std::max({worst, std::abs(sine - std::sin(angle)), std::abs(cosine - std::cos(angle))});
  };
  sweep(-8192.0f, 8192.0f, 3'000'000, check);
  sweep(-10.0f, 10.0f, 1'000'000, check);
  EXPECT_LT(worst, 2e-7);
  float sine, cosine;
  hd::sincos(0.0f, sine, cosine);
  EXPECT_EQ(sine, 0.0f);
  EXPECT_EQ(cosine, 1.0f);
  for (const float x : {kNan, kInf, -kInf}) {
    hd::sincos(x, sine, cosine);
    EXPECT_TRUE(std::isnan(sine)) << x;
    EXPECT_TRUE(std::isnan(cosine)) << x;
  }
}

}  // namespace
}  // namespace softmpc
