// SPDX-License-Identifier: Apache-2.0
// Running mean and standard deviation per component (Welford), in double precision.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace softmpc {

class RunningStatistics {
 public:
  explicit RunningStatistics(int size) : mean_(size), square_(size) {}

  void add(std::span<const float> values);
  /// Mean and standard deviation as float; 0 and 1 before two samples, and std 1 for a component
  /// that does not vary.
  void write(std::span<float> mean, std::span<float> std) const;

  // for checkpoints: [count, mean..., square...]
  std::vector<double> save() const;
  void load(std::span<const double> state);

 private:
  double count_ = 0;
  std::vector<double> mean_, square_;  // square: sum of squared deviations
};

}  // namespace softmpc
