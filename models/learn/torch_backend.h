// SPDX-License-Identifier: Apache-2.0
// What LibTorch does for the trainer. models/torch/ defines it, with a stub (absent.cpp) where the
// build has no LibTorch. No torch header here.
#pragma once

#include <memory>

#include "learn/learner.h"
#include "softmpc/config.h"

namespace softmpc {

bool has_torch();

/// Throws UsageError where the build has no LibTorch.
std::unique_ptr<Learner> make_torch_learner(const LearnerSetup& setup);

/// The yardstick of benchmarks once more: GFLOP/s of 1024 x 1024 x 1024 products by LibTorch, one
/// at a time on each thread of the pool, for about `seconds` (at least one product each). 0 where
/// the build has no LibTorch.
double torch_matrix_rate(ThreadPool& pool, Precision precision, double seconds);

}  // namespace softmpc
