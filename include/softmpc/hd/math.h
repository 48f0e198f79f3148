// SPDX-License-Identifier: Apache-2.0
// Elementary functions in float32 from explicit multiply-adds, so that a loop over them vectorises
// and host and device agree. Errors are relative to the exact value, measured by math_test.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "softmpc/hd/macros.h"

namespace softmpc::hd {

// a * b + c; fused where the target has the instruction.
SOFTMPC_HD float fma(float a, float b, float c) {
#if defined(__CUDACC__) || defined(__FMA__)
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}

SOFTMPC_HD float bits_to_float(std::uint32_t bits) {
#if defined(__CUDACC__)
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
#else
  return __builtin_bit_cast(float, bits);
#endif
}

SOFTMPC_HD std::uint32_t float_to_bits(float value) {
#if defined(__CUDACC__)
  std::uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
#else
  return __builtin_bit_cast(std::uint32_t, value);
#endif
}

// e^x for |x| <= 88.3, 0 for that below -87.6; error below 2e-7. Cephes' polynomial on
// [-ln2/2, ln2/2].
SOFTMPC_HD float exp_in_range(float x) {
  const float shift = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  const float t = fma(x, 1.44269504088896341f, shift);
  const float n = t - shift;
  float r = fma(n, -0.693359375f, x);
  r = fma(n, 2.12194440e-4f, r);
  float p = 1.9875691500e-4f;
  p = fma(p, r, 1.3981999507e-3f);
  p = fma(p, r, 8.3334519073e-3f);
  p = fma(p, r, 4.1665795894e-2f);
  p = fma(p, r, 1.6666665459e-1f);
  p = fma(p, r, 5.0000001201e-1f);
  const float y = fma(p, r * r, r) + 1.0f;
  const std::uint32_t exponent = (float_to_bits(t) - 0x4b400000u + 127u) << 23;
  return y * bits_to_float(exponent);
}

// e^x for x clamped to [-87.3, 88.3]
SOFTMPC_HD float exp(float x) {
  // written so that NaN passes through the clamp
  x = x < -87.3f ? -87.3f : x;
  x = x > 88.3f ? 88.3f : x;
  return exp_in_range(x);
}

// e^x for |x| clamped to 88.3, and a number for NaN too: integers clamp in half the instructions.
SOFTMPC_HD float exp_or_bound(float x) {
  const std::uint32_t bits = float_to_bits(x);
  std::int32_t size = static_cast<std::int32_t>(bits & 0x7fffffffu);
  size = size < 0x42b0999a ? size : 0x42b0999a;  // 88.3
  return exp_in_range(bits_to_float(static_cast<std::uint32_t>(size) | (bits & 0x80000000u)));
}

// silu(z) = z / (1 + e^-z); NaN comes through the numerator
SOFTMPC_HD float silu(float z) { return z / (1.0f + exp_or_bound(-z)); }

// silu'(z) = s (1 + z (1 - s)), s = 1 / (1 + e^-z)
SOFTMPC_HD float silu_derivative(float z) {
  const float s = 1.0f / (1.0f + exp(-z));
  return s * (1.0f + z * (1.0f - s));
}

// tanh(z) = 1 - 2 / (1 + e^2z); absolute error below 2e-7
SOFTMPC_HD float tanh(float z) { return 1.0f - 2.0f / (1.0f + exp(2.0f * z)); }

// ln x for normal x > 0; error below 2e-7. Cephes' polynomial on [sqrt(1/2), sqrt(2)].
SOFTMPC_HD float log(float x) {
  const std::uint32_t bits = float_to_bits(x);
  // split so that the mantissa lies in [sqrt(1/2), sqrt(2))
  const std::uint32_t shifted = bits + (0x3f800000u - 0x3f3504f3u);
  const float e = static_cast<float>(static_cast<std::int32_t>(shifted >> 23) - 127);
  const float m = bits_to_float((shifted & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
  float p = 7.0376836292e-2f;
  p = fma(p, m, -1.1514610310e-1f);
  p = fma(p, m, 1.1676998740e-1f);
  p = fma(p, m, -1.2420140846e-1f);
  p = fma(p, m, 1.4249322787e-1f);
  p = fma(p, m, -1.6668057665e-1f);
  p = fma(p, m, 2.0000714765e-1f);
  p = fma(p, m, -2.4999993993e-1f);
  p = fma(p, m, 3.3333331174e-1f);
  const float mm = m * m;
  float y = p * (m * mm);
  y = fma(e, -2.12194440e-4f, y);
  y = fma(-0.5f, mm, y);
  return fma(e, 0.693359375f, m + y);
}

// (sin, cos)(x + quadrant pi/2) for x in [-pi/4, pi/4]; of the quadrant two bits count.
SOFTMPC_HD void sincos_quadrant(float x, std::uint32_t quadrant, float& sine, float& cosine) {
  const float xx = x * x;
  float s = -1.9515295891e-4f;
  s = fma(s, xx, 8.3321608736e-3f);
  s = fma(s, xx, -1.6666654611e-1f);
  s = fma(s * xx, x, x);
  float c = 2.443315711809948e-5f;
  c = fma(c, xx, -1.388731625493765e-3f);
  c = fma(c, xx, 4.166664568298827e-2f);
  c = fma(c * xx, xx, fma(-0.5f, xx, 1.0f));
  const bool swap = (quadrant & 1u) != 0;
  const float a = swap ? c : s;
  const float b = swap ? s : c;
  // quadrants 2, 3 negate the sine; 1, 2 the cosine
  sine = bits_to_float(float_to_bits(a) ^ ((quadrant & 2u) << 30));
  cosine = bits_to_float(float_to_bits(b) ^ (((quadrant + 1u) & 2u) << 30));
}

// (sin, cos)(2 pi u) for u in [0, 1); absolute error below 2e-7.
SOFTMPC_HD void sincos_turns(float u, float& sine, float& cosine) {
  const float shift = 12582912.0f;
  const float t = fma(u, 4.0f, shift);
  const float f = fma(u, 4.0f, shift - t);  // exact, in [-1/2, 1/2]
  sincos_quadrant(f * 1.57079632679489662f, float_to_bits(t), sine, cosine);
}

// (sin, cos)(x) for |x| <= 8192; absolute error below 2e-7, NaN for NaN and infinity.
SOFTMPC_HD void sincos(float x, float& sine, float& cosine) {
  const float shift = 12582912.0f;
  const float t = fma(x, 0.636619772367581343f, shift);
  const float n = t - shift;
  // pi/2 in three parts; n times the first two is exact
  float r = fma(n, -1.5703125f, x);
  r = fma(n, -4.837512969970703125e-4f, r);
  r = fma(n, -7.54978995489188216e-8f, r);
  sincos_quadrant(r, float_to_bits(t), sine, cosine);
}

}  // namespace softmpc::hd
