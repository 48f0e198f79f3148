// SPDX-License-Identifier: Apache-2.0
// How the update of plans is laid out over blocks, for kernel and host.
#pragma once

#include "softmpc/hd/macros.h"

namespace softmpc::cuda {

/// Warps that share the sum of one action block: so many that a lane has at most 32 rollouts.
SOFTMPC_HD constexpr int update_team(int rollouts) {
  int warps = 1;
  while (warps < 8 && warps * 1024 < rollouts) warps *= 2;
  return warps;
}
/// Blocks that a problem's update takes.
SOFTMPC_HD constexpr int update_blocks(int rollouts, int horizon, int nu) {
  const int teams = 8 / update_team(rollouts), pairs = (horizon + 1) * ((nu + 3) / 4);
  return (pairs + teams - 1) / teams;
}

inline constexpr int kUpdateSharedBytes = 8 * 4 * 8;  // warps, action entries, a double

}  // namespace softmpc::cuda
