// SPDX-License-Identifier: Apache-2.0
// The yardstick of benchmarks: what a plain matrix product reaches on the same threads.
#pragma once

#include <memory>

#include "softmpc/config.h"

namespace softmpc {

class ThreadPool;

/// y = W x with W [256, 256] and a block of x that stays in cache, by the planner's own kernels but
/// without activation, on all threads of a pool at once, each with its own block.
class MatrixRate {
 public:
  /// `pool` is borrowed.
  MatrixRate(ThreadPool& pool, Precision precision);
  ~MatrixRate();
  /// Multiplies for about `seconds`; GFLOP/s of all threads together.
  double measure(double seconds);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace softmpc
