// SPDX-License-Identifier: Apache-2.0
// Shared memory of the engines that evaluate networks, for kernel and host.
#pragma once

#include "layout.h"

namespace softmpc::cuda {

/// Words that a slot's inputs to the first layer take.
SOFTMPC_HD constexpr int input_words(const NetShape& shape) { return shape.k_steps(0) * 16; }

/// Words of a slot: two parts of the widest layer, or the most of input_words(); 4 words more
/// spread rows over the banks.
SOFTMPC_HD constexpr int mma_engine_stride(int widest, int words) {
  return (words > widest ? words : widest) + 4;
}
SOFTMPC_HD constexpr int mma_engine_bytes(int slots, int widest, int words) {
  return 4 * (slots * mma_engine_stride(widest, words) + 8 * 128);
}

/// Blocks of a cluster.
inline constexpr int kClusterBlocks = 8;
/// Sums of the last hidden layer by warp, and those of outputs by block, two of them.
SOFTMPC_HD constexpr int cluster_engine_bytes(int slots, int widest, int words, int outputs) {
  return mma_engine_bytes(slots, widest, words) +
         4 * slots / 16 * 128 * (8 + 2 * kClusterBlocks * ((outputs + 7) / 8));
}

/// Tiles of 64 rollouts of a block of rollout_wgmma, a warpgroup each, and a warp that brings
/// weights.
inline constexpr int kWgmmaTiles = 2, kWgmmaThreads = (kWgmmaTiles + 1) * 128;

/// Words of the widest layer or input of a net, whole steps of 4.
SOFTMPC_HD constexpr int plain_engine_stride(int widest) { return round_up(widest, 4); }
SOFTMPC_HD constexpr int plain_engine_bytes(int slots, int widest) {
  return 4 * 2 * slots * plain_engine_stride(widest);
}

}  // namespace softmpc::cuda
