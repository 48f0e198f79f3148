// SPDX-License-Identifier: Apache-2.0
// The yardstick of benchmarks once more, by the library that trains. No torch header here.
#pragma once

#include "softmpc/config.h"

namespace softmpc {

class ThreadPool;

/// GFLOP/s of 1024 x 1024 x 1024 products by LibTorch, one at a time on each thread of the pool,
/// for about `seconds` (at least one product each).
double torch_matrix_rate(ThreadPool& pool, Precision precision, double seconds);

}  // namespace softmpc
