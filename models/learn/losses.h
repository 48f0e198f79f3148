// SPDX-License-Identifier: Apache-2.0
// Losses with their gradients over blocks [rows, lanes]. Each returns the sum over `rows` and the
// first `count` lanes, and writes `scale` times the derivative of that sum.
#pragma once

#include "softmpc/config.h"
#include "softmpc/hd/losses.h"

namespace softmpc {

struct LossBlock {
  int rows, count, stride;
};

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
    const T value =
        loss == Loss::huber ? hd::huber_error(e, T(delta), de) : hd::squared_error(e, de);
    dy[at] = T(scale) * de;
    return value;
  });
}

template <class T>
double gaussian_loss(const LossBlock& block, const T* y, const T* raw, const T* target,
                     double scale, T* dy, T* draw) {
  return sum_over(block, [&](int at) {
    T de, dr;
    const T value = hd::gaussian_error(y[at] - target[at], raw[at], de, dr);
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
    const T value = hd::binary_error(logit[at], target[at], dz);
    dlogit[at] = T(scale) * dz;
    return value;
  });
}

}  // namespace softmpc
