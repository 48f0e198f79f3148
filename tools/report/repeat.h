// SPDX-License-Identifier: Apache-2.0
// The command that makes a run again.
#pragma once

#include <string>

#include "report/train_run.h"

namespace softmpc::tools::report {

/// `softmpc train TASK --preset P --steps N --seed S --set ... --out DIR`: every setting that
/// differs from what this program's preset says. Empty where this program does not know task or
/// preset.
std::string command_of(const TrainRun& run, const std::string& out);

}  // namespace softmpc::tools::report
