// SPDX-License-Identifier: Apache-2.0
// Losses with their gradients. Each is a mean over all elements of the prediction.
#pragma once

#include <ATen/ATen.h>

#include "softmpc/config.h"

namespace softmpc {

struct LossValue {
  double value = 0;
  at::Tensor gradient;  ///< dL/dprediction, its shape
};

/// mse: mean e^2;  huber: mean (e^2 / 2 delta if |e| < delta, else |e| - delta / 2)  (PyTorch's
/// SmoothL1), e = prediction - target. The target broadcasts over members.
LossValue regression_loss(const at::Tensor& prediction, const at::Tensor& target, Loss loss,
                          double delta);

/// 1/2 mean (e^2 exp(-s) + s); the log-variance s = min + (max - min) sigmoid(raw) stays bounded.
struct GaussianLoss {
  double value = 0;
  at::Tensor mean_gradient, raw_gradient;
};
inline constexpr double kMinLogVariance = -10, kMaxLogVariance = 2;
GaussianLoss gaussian_loss(const at::Tensor& mean, const at::Tensor& raw, const at::Tensor& target);

/// mean of -(t log p + (1 - t) log(1 - p)), p = sigmoid(logit)
LossValue binary_loss(const at::Tensor& logit, const at::Tensor& target);

}  // namespace softmpc
