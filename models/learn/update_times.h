// SPDX-License-Identifier: Apache-2.0
// What one update of the networks costs. No torch header here.
#pragma once

#include <vector>

#include "softmpc/config.h"

namespace softmpc {

/// Microseconds of single updates on one thread, one after the other in rounds. Each ends with nets
/// that planners can read.
struct UpdateTimes {
  std::vector<double> model, critic;              ///< by the fused learner
  std::vector<double> torch_model, torch_critic;  ///< by LibTorch's; empty without it
};

/// Random batches of config's sizes for nx states and nu actions.
UpdateTimes time_updates(const Config& config, int nx, int nu, int rounds);

}  // namespace softmpc
