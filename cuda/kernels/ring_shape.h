// SPDX-License-Identifier: Apache-2.0
// Granules of the weight ring, for kernel and host.
#pragma once

#include "layout.h"

namespace softmpc::cuda {

inline constexpr int kGranuleBytes = 16384;  // 32 inputs of 256 outputs

/// Steps of 32 inputs in a granule of layer l, the last may have less: as many as fit. The same for
/// all layers of as many outputs, so that a kernel divides by a constant.
SOFTMPC_HD constexpr int granule_steps(const NetShape& s, int l) {
  const int steps = kGranuleBytes / (512 * s.n_tiles(l));
  return steps < 1 ? 1 : steps;
}
SOFTMPC_HD constexpr int granules(const NetShape& s, int l) {
  return (s.k_steps(l) + granule_steps(s, l) - 1) / granule_steps(s, l);
}
SOFTMPC_HD constexpr int steps_of_granule(const NetShape& s, int l, int granule) {
  const int left = s.k_steps(l) - granule * granule_steps(s, l);
  return left < granule_steps(s, l) ? left : granule_steps(s, l);
}

/// Stages with their two barriers each.
SOFTMPC_HD constexpr int ring_bytes(int stages) {
  return round_up(stages * (kGranuleBytes + 16), 128);
}

/// The table of members behind it.
SOFTMPC_HD constexpr int member_table_bytes(int horizon) { return round_up(4 * horizon, 128); }

}  // namespace softmpc::cuda
