// SPDX-License-Identifier: Apache-2.0
#include "losses.h"

namespace softmpc {

LossValue regression_loss(const at::Tensor& prediction, const at::Tensor& target, Loss loss,
                          double delta) {
  const at::Tensor e = prediction - target;
  const double n = static_cast<double>(e.numel());
  if (loss != Loss::huber)
    return {at::dot(e.flatten(), e.flatten()).item<double>() / n, e * (2 / n)};
  const at::Tensor size = e.abs();
  const at::Tensor inside = e.square() * (0.5 / delta);
  const at::Tensor value = at::where(size < delta, inside, size - 0.5 * delta);
  return {value.mean().item<double>(), e.clamp(-delta, delta) * (1 / (delta * n))};
}

GaussianLoss gaussian_loss(const at::Tensor& mean, const at::Tensor& raw,
                           const at::Tensor& target) {
  const double n = static_cast<double>(mean.numel());
  const double range = kMaxLogVariance - kMinLogVariance;
  const at::Tensor p = at::sigmoid(raw);
  const at::Tensor s = kMinLogVariance + range * p;
  const at::Tensor e = mean - target;
  const at::Tensor precision = at::exp(-s);
  const at::Tensor weighted = e.square() * precision;
  return {0.5 * (weighted + s).mean().item<double>(), e * precision * (1 / n),
          (1 - weighted) * p * (1 - p) * (0.5 * range / n)};
}

LossValue binary_loss(const at::Tensor& logit, const at::Tensor& target) {
  const double n = static_cast<double>(logit.numel());
  const at::Tensor t = target.expand_as(logit);
  // max(z, 0) - z t + log(1 + e^-|z|) does not overflow
  const at::Tensor value = logit.clamp_min(0) - logit * t + at::log1p(at::exp(-logit.abs()));
  return {value.mean().item<double>(), (at::sigmoid(logit) - t) * (1 / n)};
}

}  // namespace softmpc
