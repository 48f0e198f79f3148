// SPDX-License-Identifier: Apache-2.0
// From the words of the command line to groups of runs, and groups to what is drawn together.
#pragma once

#include <string>
#include <vector>

#include "report/train_run.h"

namespace softmpc::tools::report {

/// A curve that is kept as data.
struct Baseline {
  std::string name{}, task{};
  std::vector<std::int64_t> steps{};           // [n], rising
  std::vector<std::vector<double>> returns{};  // [seeds][n]; NaN where a seed has none
};

/// Runs that differ by their seed, or that were put together by name.
struct Group {
  std::string name{};
  std::vector<TrainRun> runs{};
};

/// The groups of one task: one set of pictures.
struct Study {
  std::string task{};
  std::vector<Group> groups{};
  std::vector<Baseline> baselines{};
};

/// RUN..., NAME=RUN...: run folders and folders of seeds. A word without a name belongs to the name
/// before it; before any name, runs that differ by nothing but their seed are a group. Throws Error
/// for what is no run, UsageError for a run named twice and for different tasks in one group.
std::vector<Group> read_groups(const std::vector<std::string>& words);
/// {"name", "task", "steps": [...], "returns": [[one row a seed]]}, null where a seed has no
/// return. Throws Error naming file, key and rule.
Baseline read_baseline(const std::string& path);
/// Throws Error for a baseline of a task that no run has.
std::vector<Study> studies_of(std::vector<Group> groups, std::vector<Baseline> baselines);

}  // namespace softmpc::tools::report
