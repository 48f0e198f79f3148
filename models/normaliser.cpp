// SPDX-License-Identifier: Apache-2.0
#include "normaliser.h"

#include <algorithm>
#include <cmath>

namespace softmpc {

void RunningStatistics::add(std::span<const float> values) {
  count_ += 1;
  for (std::size_t i = 0; i < mean_.size(); ++i) {
    const double before = values[i] - mean_[i];
    mean_[i] += before / count_;
    square_[i] += before * (values[i] - mean_[i]);
  }
}

void RunningStatistics::write(std::span<float> mean, std::span<float> std) const {
  for (std::size_t i = 0; i < mean_.size(); ++i) {
    const double deviation = count_ < 2 ? 0 : std::sqrt(square_[i] / count_);
    const bool varies = deviation > 1e-6 * std::max(1.0, std::abs(mean_[i]));
    mean[i] = count_ < 2 ? 0.0f : static_cast<float>(mean_[i]);
    std[i] = varies ? static_cast<float>(deviation) : 1.0f;
  }
}

std::vector<double> RunningStatistics::save() const {
  std::vector<double> state = {count_};
  state.insert(state.end(), mean_.begin(), mean_.end());
  state.insert(state.end(), square_.begin(), square_.end());
  return state;
}

void RunningStatistics::load(std::span<const double> state) {
  count_ = state[0];
  std::copy_n(state.begin() + 1, mean_.size(), mean_.begin());
  std::copy_n(state.begin() + 1 + static_cast<std::ptrdiff_t>(mean_.size()), square_.size(),
              square_.begin());
}

}  // namespace softmpc
