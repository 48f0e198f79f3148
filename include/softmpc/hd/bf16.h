// SPDX-License-Identifier: Apache-2.0
// bfloat16: the upper half of a float32.
#pragma once

#include "softmpc/hd/math.h"

namespace softmpc::hd {

// Rounds to the nearest bfloat16, ties to even; infinities and NaNs stay what they are.
SOFTMPC_HD std::uint32_t to_bf16(float value) {
  const std::uint32_t bits = float_to_bits(value);
  const std::uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  return (bits & 0x7fffffffu) > 0x7f800000u ? (bits >> 16) | 0x40u : rounded;
}

SOFTMPC_HD float from_bf16(std::uint32_t half) { return bits_to_float(half << 16); }

SOFTMPC_HD std::uint32_t pair_bf16(float low, float high) {
  return to_bf16(low) | to_bf16(high) << 16;
}

}  // namespace softmpc::hd
