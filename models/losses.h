// SPDX-License-Identifier: Apache-2.0
// Losses with their gradients over blocks [rows, lanes]. Each returns the sum over `rows` and the
// first `count` lanes, and writes `scale` times the derivative of that sum.
#pragma once

#include <cmath>

#include "softmpc/config.h"

namespace softmpc {

struct LossBlock {
  int rows, count, stride;
};

// the loss of one element and its derivative

/// e^2
template <class T>
T squared_error(T e, T& de) {
  de = 2 * e;
  return e * e;
}

/// e^2 / 2 delta if |e| < delta, else |e| - delta / 2  (PyTorch's SmoothL1)
template <class T>
T huber_error(T e, T delta, T& de) {
  const T size = std::abs(e);
  de = size < delta ? e / delta : std::copysign(T(1), e);
  return size < delta ? e * e / (2 * delta) : size - delta / 2;
}

inline constexpr double kMinLogVariance = -10, kMaxLogVariance = 2;
/// 1/2 (e^2 exp(-s) + s); the log-variance s = min + (max - min) sigmoid(raw) stays bounded.
template <class T>
T gaussian_error(T e, T raw, T& de, T& draw) {
  const T range = T(kMaxLogVariance - kMinLogVariance);
  const T p = 1 / (1 + std::exp(-raw));
  const T s = T(kMinLogVariance) + range * p;
  const T precision = std::exp(-s);
  de = e * precision;
  draw = T(0.5) * range * (1 - e * e * precision) * p * (1 - p);
  return T(0.5) * (e * e * precision + s);
}

/// -(t log p + (1 - t) log(1 - p)), p = sigmoid(z)
template <class T>
T binary_error(T z, T t, T& dz) {
  dz = 1 / (1 + std::exp(-z)) - t;
  // this form does not overflow
  return std::max(z, T(0)) - z * t + std::log1p(std::exp(-std::abs(z)));
}

/// Calls error(i, j, at) -> loss of each element; `at` is its index in the block.
template <class F>
double sum_over(const LossBlock& block, const F& error) {
  double sum = 0;
  for (int i = 0; i < block.rows; ++i)
    for (int j = 0; j < block.count; ++j) sum += error(i * block.stride + j);
  return sum;
}

template <class T>
double regression_loss(const LossBlock& block, const T* y, const T* target, Loss loss, double delta,
                       double scale, T* dy) {
  return sum_over(block, [&](int at) {
    T de;
    const T e = y[at] - target[at];
    const T value = loss == Loss::huber ? huber_error(e, T(delta), de) : squared_error(e, de);
    dy[at] = T(scale) * de;
    return value;
  });
}

template <class T>
double gaussian_loss(const LossBlock& block, const T* y, const T* raw, const T* target,
                     double scale, T* dy, T* draw) {
  return sum_over(block, [&](int at) {
    T de, dr;
    const T value = gaussian_error(y[at] - target[at], raw[at], de, dr);
    dy[at] = T(scale) * de;
    draw[at] = T(scale) * dr;
    return value;
  });
}

template <class T>
double binary_loss(const LossBlock& block, const T* logit, const T* target, double scale,
                   T* dlogit) {
  return sum_over(block, [&](int at) {
    T dz;
    const T value = binary_error(logit[at], target[at], dz);
    dlogit[at] = T(scale) * dz;
    return value;
  });
}

}  // namespace softmpc
