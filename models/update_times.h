// SPDX-License-Identifier: Apache-2.0
// What one update of the networks costs. No torch header here.
#pragma once

#include <vector>

#include "softmpc/config.h"

namespace softmpc {

/// Microseconds of single updates on one thread, one after the other in rounds.
struct UpdateTimes {
  std::vector<double> model, critic;              ///< by the trainer's kernels
  std::vector<double> torch_model, torch_critic;  ///< the same mathematics by LibTorch's operators
};

/// Random batches of config's sizes for nx states and nu actions.
UpdateTimes time_updates(const Config& config, int nx, int nu, int rounds);

}  // namespace softmpc
