// SPDX-License-Identifier: Apache-2.0
// Statistics over seeds, defined as in bench/learning_statistics.py.
#pragma once

#include <optional>
#include <utility>
#include <vector>

namespace softmpc::tools::report {

using Range = std::pair<double, double>;

/// Quantile part/parts of a sample, interpolated between order statistics. `values` is not empty.
double quantile(std::vector<double> values, int part, int parts);
/// 20 % and 80 % quantiles of at least one value.
Range band(const std::vector<double>& values);
/// Mean without the floor(n/4) least and the floor(n/4) greatest of at least one value.
double interquartile_mean(std::vector<double> values);
/// 95 % percentile interval of the interquartile mean under 2,000 resamplings of the seeds; equal
/// values give equal intervals. Empty for a single seed.
std::optional<Range> bootstrap_interval(const std::vector<double>& values);

}  // namespace softmpc::tools::report
