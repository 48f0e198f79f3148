// SPDX-License-Identifier: Apache-2.0
// What went wrong in runs, in words.
#pragma once

#include <string>
#include <vector>

#include "report/groups.h"

namespace softmpc::tools::report {

enum class Severity { note, warning, fault };

struct Finding {
  Severity severity = Severity::note;
  std::string group{}, run{};  ///< run: empty for the whole group
  std::string text{};          ///< one sentence
};

/// Of a run: stopped early, diverged, relapsed, losses that are not finite or stand still, returns
/// that are not finite, what training warned of, what its files lack.
std::vector<Finding> findings_of(const Group& group, const TrainRun& run);
/// Of all runs of a study, and of its groups.
std::vector<Finding> findings_of(const Study& study);

}  // namespace softmpc::tools::report
