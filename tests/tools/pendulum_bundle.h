// SPDX-License-Identifier: Apache-2.0
// A bundle of a built-in task, small and not trained.
#pragma once

#include <vector>

#include "softmpc/bundle.h"

namespace softmpc::test {

/// Small networks with all weights different and no training.
inline NetWeights networks(int stack, const std::vector<int>& widths) {
  NetWeights weights = NetWeights::zeros(stack, NetSpec::mlp(widths));
  int count = 0;
  for (int l = 0; l < weights.layers(); ++l)
    for (float& weight : weights.weight(l)) weight = 0.02F * static_cast<float>(++count % 17 - 8);
  return weights;
}

inline Bundle pendulum_bundle() {
  Bundle bundle;
  bundle.task = "InvertedPendulum";
  bundle.nx = 4;
  bundle.nu = 1;
  bundle.action_low = {-3};
  bundle.action_high = {3};
  bundle.dt = 0.04;
  bundle.members = networks(2, {5, 8, 4});
  bundle.critics = networks(1, {5, 8, 1});
  bundle.planner.horizon = 3;
  bundle.planner.rollouts = 30;
  return bundle;
}

}  // namespace softmpc::test
