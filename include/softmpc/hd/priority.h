// SPDX-License-Identifier: Apache-2.0
// Draws in proportion to priorities. Sums are integers, so that they do not depend on the order of
// adding: host and device, and every run, draw the same.
#pragma once

#include <cmath>
#include <cstdint>

#include "softmpc/hd/macros.h"

namespace softmpc::hd {

// p = |delta|^alpha + eps  (Schaul et al. 2016, proportional)
SOFTMPC_HD float td_priority(float delta, float alpha, float epsilon) {
  return std::pow(delta < 0 ? -delta : delta, alpha) + epsilon;
}

// w = (N P)^-beta; callers divide by the largest of a batch
SOFTMPC_HD float importance_weight(float probability, std::uint32_t entries, float beta) {
  return std::pow(static_cast<float>(entries) * probability, -beta);
}

// What counts: p where 0 < p < infinity, else 0.
SOFTMPC_HD float counted_priority(float p) { return p > 0 && p <= 0x1.fffffep+127f ? p : 0.0f; }

// The least b with entries <= 2^b.
SOFTMPC_HD int entry_bits(std::uint32_t entries) {
  int bits = 0;
  while (bits < 32 && (std::uint64_t{1} << bits) < entries) ++bits;
  return bits;
}

// s = 62 - b - e, largest < 2^e: 2^b priorities of at most `largest` have sum(2^s p) <= 2^62.
SOFTMPC_HD int priority_shift(float largest, int bits) {
  int exponent;
  std::frexp(largest, &exponent);
  return 62 - bits - exponent;
}

// floor(2^s p), at least 1 where p counts: 0 is never drawn, what is positive can be.
SOFTMPC_HD std::uint64_t priority_units(float p, int shift) {
  if (counted_priority(p) == 0) return 0;
  const auto units = static_cast<std::uint64_t>(std::ldexp(static_cast<double>(p), shift));
  return units > 0 ? units : 1;
}

// floor(word total / 2^32), where a word of Philox falls among `total` units. With equal priorities
// that is the slot of uniform_index().
SOFTMPC_HD std::uint64_t drawn_unit(std::uint32_t word, std::uint64_t total) {
  return (total >> 32) * word + (((total & 0xffffffffu) * word) >> 32);
}

}  // namespace softmpc::hd
