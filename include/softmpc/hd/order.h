// SPDX-License-Identifier: Apache-2.0
// Order statistics of costs x_0 <= ... <= x_{m-1}.
#pragma once

#include <cmath>
#include <cstdint>

#include "softmpc/hd/math.h"

namespace softmpc::hd {

inline constexpr std::uint32_t kInvalidCost = 0xffffffffu;

// An integer that orders as the cost does; kInvalidCost, the last, for what is not finite. -0 is 0.
SOFTMPC_HD std::uint32_t cost_key(float cost) {
  const std::uint32_t bits = cost == 0 ? 0u : float_to_bits(cost);
  if ((bits & 0x7f800000u) == 0x7f800000u) return kInvalidCost;
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// x_i + (h - i)(x_{i+1} - x_i), h = q (m - 1), i = floor(h)  (Hyndman & Fan 1996, type 7);
// x(i) gives x_i, m >= 1, 0 <= q <= 1
template <class X>
SOFTMPC_HD double quantile(const X& x, int m, double q) {
  const double h = q * (m - 1);
  const int i = static_cast<int>(h);
  if (i + 1 >= m) return x(m - 1);
  return x(i) + (h - i) * (x(i + 1) - x(i));
}

// CVaR_alpha = sum_i w_i x_i / sum_i w_i, w_i = clip(i + 1 - alpha m, 0, 1): the mean of the worst
// share 1 - alpha, the cost at its edge by part  (Rockafellar & Uryasev 2002)
SOFTMPC_HD double tail_weight(int i, int m, double alpha) {
  const double w = i + 1 - alpha * m;
  return w < 0 ? 0.0 : (w > 1 ? 1.0 : w);
}

}  // namespace softmpc::hd
