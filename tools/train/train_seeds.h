// SPDX-License-Identifier: Apache-2.0
// Several seeds side by side, each a process of its own.
#pragma once

#include "train/train_settings.h"

namespace softmpc::tools {

/// Runs --seeds with at most --jobs at a time, each in DIR/seed-N with its output in log.txt.
/// Returns the exit code.
int train_seeds(const TrainOptions& options);

}  // namespace softmpc::tools
