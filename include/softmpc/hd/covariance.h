// SPDX-License-Identifier: Apache-2.0
// A full action covariance Sigma = L L': noise is eps = L z with z ~ N(0, I). The number T is a
// float, or a register of lanes; it goes by reference, which has one calling convention everywhere.
#pragma once

#include "softmpc/hd/macros.h"

namespace softmpc::hd {

/// Sigma of a planner, row-major. Rows and columns of fixed actions are zero in both.
struct Covariance {
  const float* factor;   ///< [nu, nu] L, zero above the diagonal
  const float* inverse;  ///< [nu, nu] Sigma^-1
  int nu;
};

// sum <- sum + sum_{j<n} row_j z_j
template <class T, class Z>
SOFTMPC_HD void add_product(const float* row, int n, const Z& z, T& sum) {
  for (int j = 0; j < n; ++j) sum += row[j] * z[j];
}

// The same for four z of which n are entries of an action: nothing is indexed by a variable
SOFTMPC_HD void add_block(const float* row, int n, const float (&z)[4], float& sum) {
  SOFTMPC_UNROLL
  for (int j = 0; j < 4; ++j)
    if (j < n) sum += row[j] * z[j];
}

// eps = L z in the place of z, [nu]: from the last entry up, which alone needs all others
template <class T, class Z>
SOFTMPC_HD void correlate(const Covariance& sigma, const Z& z) {
  for (int i = sigma.nu - 1; i >= 0; --i) {
    T eps{};
    add_product(sigma.factor + i * sigma.nu, i + 1, z, eps);
    z[i] = eps;
  }
}

// sum <- sum + eps' Sigma^-1 eps = sum + z' z; of noise that is `given` eps is known and z is not
template <class T, class Z>
SOFTMPC_HD void add_square(const Covariance& sigma, bool given, const Z& noise, T& sum) {
  for (int i = 0; i < sigma.nu; ++i) {
    T charged = noise[i];
    if (given) {
      charged = T{};
      add_product(sigma.inverse + i * sigma.nu, sigma.nu, noise, charged);
    }
    sum += noise[i] * charged;
  }
}

// Noise of one step of a rollout: z, or eps if `given`, becomes eps; `square` <- eps' Sigma^-1 eps,
// which the uniform prior charges
template <class T, class Z>
SOFTMPC_HD void finish_noise(const Covariance& sigma, bool uniform, bool given, const Z& noise,
                             T& square) {
  square = T{};
  if (uniform) add_square(sigma, given, noise, square);
  if (!given) correlate<T>(sigma, noise);
}

// w_i of w = Sigma^-1 u: then u' Sigma^-1 eps = w' eps costs a rollout what a diagonal Sigma does
template <class U>
SOFTMPC_HD float charged(const Covariance& sigma, int i, const U& u) {
  float w = 0;
  add_product(sigma.inverse + i * sigma.nu, sigma.nu, u, w);
  return w;
}

// y_i of y = L' w: u' Sigma^-1 u = |y|^2 for w = Sigma^-1 u
SOFTMPC_HD float whitened(const Covariance& sigma, int i, const float* w) {
  float y = 0;
  for (int j = i; j < sigma.nu; ++j) y += sigma.factor[j * sigma.nu + i] * w[j];
  return y;
}

}  // namespace softmpc::hd
