// SPDX-License-Identifier: Apache-2.0
// Tests hd/f16.h: all 65,536 numbers, and every place where rounding turns.
#include "softmpc/hd/f16.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

namespace softmpc {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

/// The value of finite float16 bits by the definition of the format.
double value_of(std::uint32_t half) {
  const int exponent = static_cast<int>(half >> 10 & 31), mantissa = static_cast<int>(half & 1023);
  const double size =
      exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  return (half & 0x8000u) != 0 ? -size : size;
}

TEST(F16, EveryNumberHasItsValueAndComesBack) {
  for (std::uint32_t half = 0; half < 65536; ++half) {
    const float value = hd::from_f16(half);
    if ((half & 0x7c00u) != 0x7c00u) {
      ASSERT_EQ(value, value_of(half)) << half;
      ASSERT_EQ(std::signbit(value), half >> 15 != 0) << half;
    } else if ((half & 0x3ffu) == 0) {
      ASSERT_EQ(value, half >> 15 != 0 ? -kInf : kInf);
    } else {
      ASSERT_TRUE(std::isnan(value)) << half;
      ASSERT_TRUE(std::isnan(hd::from_f16(hd::to_f16(value)))) << half;
      continue;
    }
    ASSERT_EQ(hd::to_f16(value), half);
  }
}

TEST(F16, RoundsToNearestAndTiesToEven) {
  // between neighbours only the middle matters: there and beside it
  for (std::uint32_t half = 0; half < 0x7c00u; ++half) {
    const double next = half == 0x7bffu ? 65536.0 : value_of(half + 1);
    const auto middle = static_cast<float>((value_of(half) + next) / 2);  // exact
    for (const float sign : {1.0f, -1.0f}) {
      const std::uint32_t bit = sign < 0 ? 0x8000u : 0;
      ASSERT_EQ(hd::to_f16(sign * middle), bit | (half + (half & 1u))) << half;
      ASSERT_EQ(hd::to_f16(sign * std::nextafter(middle, 0.0f)), bit | half) << half;
      ASSERT_EQ(hd::to_f16(sign * std::nextafter(middle, kInf)), bit | (half + 1)) << half;
    }
  }
}

TEST(F16, LargeAndTiny) {
  EXPECT_EQ(hd::to_f16(1e30f), 0x7c00u);
  EXPECT_EQ(hd::to_f16(-kInf), 0xfc00u);
  EXPECT_EQ(hd::to_f16(1e-30f), 0u);
  EXPECT_EQ(hd::to_f16(-1e-45f), 0x8000u);
  EXPECT_EQ(hd::pair_f16(1.0f, -2.0f), 0xc0003c00u);
}

}  // namespace
}  // namespace softmpc
