// SPDX-License-Identifier: Apache-2.0
// How the update of plans is laid out over blocks, for kernel and host. All of it follows from the
// number of rollouts and the size of a plan, never from the batch.
#pragma once

#include <cstddef>

#include "softmpc/hd/macros.h"

namespace softmpc::cuda {

inline constexpr int kUpdateWarps = 8;
/// Rollouts that a block weighs, 8 a lane: drawing noise again takes all the time. More rollouts
/// are several blocks' work, and the last of them sums up.
inline constexpr int kUpdateSegment = 32 * 8 * kUpdateWarps;

SOFTMPC_HD constexpr int update_segments(int rollouts) {
  return (rollouts + kUpdateSegment - 1) / kUpdateSegment;
}
/// Warps that share the sum of one action block, 4 rollouts a lane as long as a block has warps.
SOFTMPC_HD constexpr int update_team(int rollouts) {
  int warps = 1;
  while (warps < kUpdateWarps && warps * 128 < rollouts) warps *= 2;
  return warps;
}
/// Action blocks of a plan.
SOFTMPC_HD constexpr int update_pairs(int horizon, int nu) {
  return (horizon + 1) * ((nu + 3) / 4);
}
/// Blocks that share a segment.
SOFTMPC_HD constexpr int update_parts(int rollouts, int horizon, int nu) {
  const int teams = kUpdateWarps / update_team(rollouts);
  return (update_pairs(horizon, nu) + teams - 1) / teams;
}
/// Blocks that a problem's update takes.
SOFTMPC_HD constexpr int update_blocks(int rollouts, int horizon, int nu) {
  return update_segments(rollouts) * update_parts(rollouts, horizon, nu);
}

/// Of one segment, in front of its sums: least S, sums of weights and of their squares, how many
/// are finite and in the box.
inline constexpr int kSegmentHead = 5;
/// Numbers that a segment leaves to the last block.
SOFTMPC_HD constexpr int segment_numbers(int horizon, int nu) {
  return kSegmentHead + 4 * update_pairs(horizon, nu);
}
/// Numbers that a problem's segments leave; none where one block sees all rollouts.
SOFTMPC_HD constexpr std::size_t update_numbers(int rollouts, int horizon, int nu) {
  const int segments = update_segments(rollouts);
  return segments == 1 ? 0 : static_cast<std::size_t>(segments) * segment_numbers(horizon, nu);
}

inline constexpr int kUpdateSharedBytes = kUpdateWarps * 4 * 8;  // action entries, a double

}  // namespace softmpc::cuda
