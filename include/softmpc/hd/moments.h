// SPDX-License-Identifier: Apache-2.0
// Running mean and sum of squared deviations, in double precision.
#pragma once

#include <cmath>

#include "softmpc/hd/macros.h"

namespace softmpc::hd {

// m_n = m + (x - m) / n,  M_n = M + (x - m)(x - m_n)  (Welford 1962); n counts x
SOFTMPC_HD void add_sample(double x, double n, double& mean, double& square) {
  const double before = x - mean;
  mean += before / n;
  square += before * (x - mean);
}

// d = m_b - m_a,  m = m_a + d n_b / n,  M = M_a + M_b + d^2 n_a n_b / n  (Chan et al. 1983);
// n = n_a + n_b > 0. Into a, whose moments are `mean` and `square`.
SOFTMPC_HD void merge_moments(double n_a, double& mean, double& square, double n_b, double mean_b,
                              double square_b) {
  const double share = n_b / (n_a + n_b), d = mean_b - mean;
  mean += d * share;
  square += square_b + d * d * n_a * share;
}

// Mean and sqrt(M / n); 0 and 1 before two samples, std 1 for what does not vary.
SOFTMPC_HD void mean_and_std(double n, double mean, double square, float& m, float& s) {
  const double deviation = n < 2 ? 0 : std::sqrt(square / n);
  const double size = mean < 0 ? -mean : mean;
  const bool varies = deviation > 1e-6 * (size > 1 ? size : 1.0);
  m = n < 2 ? 0.0f : static_cast<float>(mean);
  s = varies ? static_cast<float>(deviation) : 1.0f;
}

}  // namespace softmpc::hd
