// SPDX-License-Identifier: Apache-2.0
// Shared memory of a block of training.
#pragma once

#include "train_job.h"

namespace softmpc::cuda {

// Strides in shared memory: multiples of 4 for loads of 16 bytes, and such that the lanes of a warp
// meet in different banks.
inline constexpr int kRowStride = kTrainRows + 4;
inline constexpr int kSliceStride = kTrainSlice + 4;
inline constexpr int kTrainWarps = kTrainThreads / 32;

struct TrainMemory {
  float rows[kTrainTile * kRowStride];                    ///< tile [component][row]
  float weight[kTrainTile * kSliceStride];                ///< [component][unit of the slice]
  float partial[kTrainWarps * kTrainSlice * kTrainRows];  ///< sums of each warp
  float slice[kTrainSlice * kRowStride];                  ///< [unit of the slice][row]
};

}  // namespace softmpc::cuda
