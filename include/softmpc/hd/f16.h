// SPDX-License-Identifier: Apache-2.0
// float16 (IEEE binary16) in software: the same bits as the hardware's conversions.
#pragma once

#include "softmpc/hd/math.h"

namespace softmpc::hd {

// Rounds to the nearest float16, ties to even; subnormals are exact, from 65,520 on it is infinity.
SOFTMPC_HD std::uint32_t to_f16(float value) {
  const std::uint32_t bits = float_to_bits(value);
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  const std::uint32_t size = bits & 0x7fffffffu;
  // below 2^-14: adding 1/2 leaves the multiple of 2^-24 in the last bits, rounded by the adder
  const std::uint32_t small = float_to_bits(bits_to_float(size) + 0.5f) - 0x3f000000u;
  // a mantissa that rounds up carries into the exponent, as it should
  const std::uint32_t normal = (size - 0x38000000u + 0xfffu + ((size >> 13) & 1u)) >> 13;
  std::uint32_t half = size < 0x38800000u ? small : normal;
  half = size >= 0x47800000u ? 0x7c00u : half;
  half = size > 0x7f800000u ? 0x7e00u | ((size >> 13) & 0x3ffu) : half;
  return sign | half;
}

SOFTMPC_HD float from_f16(std::uint32_t half) {
  const std::uint32_t size = half & 0x7fffu;
  // the product with 2^112 moves the exponent and normalises subnormals, without rounding
  const std::uint32_t finite = float_to_bits(bits_to_float(size << 13) * 0x1p112f);
  const std::uint32_t special = (size << 13) | 0x7f800000u;
  return bits_to_float((size >= 0x7c00u ? special : finite) | (half & 0x8000u) << 16);
}

SOFTMPC_HD std::uint32_t pair_f16(float low, float high) {
  return to_f16(low) | to_f16(high) << 16;
}

}  // namespace softmpc::hd
