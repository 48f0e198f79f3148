// SPDX-License-Identifier: Apache-2.0
#include "normaliser.h"

#include <algorithm>

#include "softmpc/hd/moments.h"

namespace softmpc {

void RunningStatistics::add(std::span<const float> values) {
  count_ += 1;
  for (std::size_t i = 0; i < mean_.size(); ++i)
    hd::add_sample(values[i], count_, mean_[i], square_[i]);
}

void RunningStatistics::write(std::span<float> mean, std::span<float> std) const {
  for (std::size_t i = 0; i < mean_.size(); ++i)
    hd::mean_and_std(count_, mean_[i], square_[i], mean[i], std[i]);
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
