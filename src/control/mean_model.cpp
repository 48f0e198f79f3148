// SPDX-License-Identifier: Apache-2.0
#include "control/mean_model.h"

#include <cmath>
#include <limits>

#include "cpu/kernels.h"

namespace softmpc {
namespace {

constexpr int kStride = cpu::kLanes;  // one lane, padded

}  // namespace

MeanModel::MeanModel(int nx, int nu)
    : x_(static_cast<std::size_t>(nx) * kStride),
      a_(static_cast<std::size_t>(nu) * kStride),
      next_(static_cast<std::size_t>(nx) * kStride),
      reward_(kStride),
      terminated_(kStride) {}

void MeanModel::prepare(const DynamicsModel& dynamics) {
  members_ = dynamics.members();
  const std::size_t predictions = x_.size() / kStride * members_;
  const std::size_t bytes = dynamics.scratch_bytes(kStride);
  if (predicted_.size() < predictions) predicted_.resize(predictions);
  if (scratch_.size() < bytes) scratch_.resize(bytes);
}

void MeanModel::step(const DynamicsModel& dynamics, std::span<float> x, std::span<const float> a) {
  const std::size_t nx = x.size();
  for (std::size_t i = 0; i < nx; ++i) x_[i * kStride] = x[i];
  for (std::size_t i = 0; i < a.size(); ++i) a_[i * kStride] = a[i];
  for (int m = 0; m < members_; ++m) {
    dynamics.step(m, {x_.data(), kStride}, {a_.data(), kStride}, 1,
                  {{next_.data(), kStride},
                   dynamics.predicts_reward() ? reward_.data() : nullptr,
                   dynamics.predicts_termination() ? terminated_.data() : nullptr},
                  scratch_.data());
    for (std::size_t i = 0; i < nx; ++i) predicted_[m * nx + i] = next_[i * kStride];
  }
  for (std::size_t i = 0; i < nx; ++i) {
    double sum = 0;
    for (int m = 0; m < members_; ++m) sum += predicted_[m * nx + i];
    x[i] = static_cast<float>(sum / members_);
  }
}

double MeanModel::disagreement(std::span<const float> unit) const {
  if (members_ < 2) return std::numeric_limits<double>::quiet_NaN();
  const std::size_t nx = unit.size();
  double sum = 0;
  int components = 0;
  for (std::size_t i = 0; i < nx; ++i) {
    if (unit[i] == 0) continue;
    ++components;
    double mean = 0, squares = 0;
    for (int m = 0; m < members_; ++m) mean += predicted_[m * nx + i];
    mean /= members_;
    for (int m = 0; m < members_; ++m) {
      const double off = predicted_[m * nx + i] - mean;
      squares += off * off;
    }
    sum += squares / (members_ - 1) / (static_cast<double>(unit[i]) * unit[i]);
  }
  return components > 0 ? std::sqrt(sum / components) : 0;
}

}  // namespace softmpc
