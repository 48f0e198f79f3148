// SPDX-License-Identifier: Apache-2.0
// Numbers that are neither NaN nor infinite.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>

namespace softmpc {

inline bool all_finite(std::span<const float> values) {
  return std::ranges::all_of(values, [](float v) { return std::isfinite(v); });
}

}  // namespace softmpc
