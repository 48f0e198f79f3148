// SPDX-License-Identifier: Apache-2.0
// Losses of one element with their derivatives, and the critic's target.
#pragma once

#include <cmath>

#include "softmpc/hd/macros.h"

namespace softmpc::hd {

// e^2
template <class T>
SOFTMPC_HD T squared_error(T e, T& de) {
  de = 2 * e;
  return e * e;
}

// e^2 / 2 delta if |e| < delta, else |e| - delta / 2  (PyTorch's SmoothL1)
template <class T>
SOFTMPC_HD T huber_error(T e, T delta, T& de) {
  const T size = e < 0 ? -e : e;
  de = size < delta ? e / delta : (e < 0 ? T(-1) : T(1));
  return size < delta ? e * e / (2 * delta) : size - delta / 2;
}

inline constexpr double kMinLogVariance = -10, kMaxLogVariance = 2;
// 1/2 (e^2 exp(-s) + s); the log-variance s = min + (max - min) sigmoid(raw) stays bounded.
template <class T>
SOFTMPC_HD T gaussian_error(T e, T raw, T& de, T& draw) {
  const T range = T(kMaxLogVariance - kMinLogVariance);
  const T p = 1 / (1 + std::exp(-raw));
  const T s = T(kMinLogVariance) + range * p;
  const T precision = std::exp(-s);
  de = e * precision;
  draw = T(0.5) * range * (1 - e * e * precision) * p * (1 - p);
  return T(0.5) * (e * e * precision + s);
}

// -(t log p + (1 - t) log(1 - p)), p = sigmoid(z)
template <class T>
SOFTMPC_HD T binary_error(T z, T t, T& dz) {
  dz = 1 / (1 + std::exp(-z)) - t;
  // this form does not overflow
  return (z < 0 ? T(0) : z) - z * t + std::log1p(std::exp(z < 0 ? z : -z));
}

// y = r - terminated c + gamma (1 - terminated) V, V the least over the target critics, c what a
// termination costs
SOFTMPC_HD float critic_target(float r, double gamma, double value, float terminated, float cost) {
  return r - terminated * cost + static_cast<float>(gamma * value) * (1 - terminated);
}

// y_t = r_t + gamma (y_{t+1} - p_{t+1}), p the price of the action, or r_t - c where the step ends
// the rollout; behind an end y and p may be anything
SOFTMPC_HD float expanded_target(float r, double gamma, bool goes_on, float next, float price,
                                 float cost) {
  return goes_on ? critic_target(r, gamma, static_cast<double>(next - price), 0, cost)
                 : critic_target(r, gamma, 0, 1, cost);
}

}  // namespace softmpc::hd
