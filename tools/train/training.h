// SPDX-License-Identifier: Apache-2.0
// The seam to the trainer: training.cpp where the build has one, no_training.cpp where not.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "learn/update_times.h"
#include "softmpc/bundle.h"
#include "softmpc/config.h"
#include "softmpc/network.h"
#include "softmpc/task.h"
#include "softmpc/thread_pool.h"
#include "softmpc/train/trainer.h"

namespace softmpc::tools {

/// One run, all settings resolved.
struct TrainRequest {
  std::string task, preset;
  Config config;
  std::string out;  ///< run folder
  bool resume = false;
};

struct TrainOutcome {
  bool stopped = false;    ///< before config.trainer.steps
  std::int64_t start = 0;  ///< step that this process began at
  std::int64_t steps = 0;  ///< steps done in all
  double seconds = 0;      ///< of this process
  std::uint64_t state_hash = 0;
  std::string lost;  ///< of the metrics, where the folder was found damaged; else ""
};

/// What a resumed run's config.json says.
struct RecordedRun {
  std::string task, preset;
  Config config;
};
/// Throws Error naming the file where it is damaged.
RecordedRun read_recorded_run(const std::string& out);

/// Throws UsageError for settings that do not fit the task.
void check_request(const TrainRequest& request);

/// Trains and writes the run folder; `progress` is told what is going on after the folder was.
TrainOutcome train(const TrainRequest& request, TrainObserver& progress,
                   const std::atomic<bool>& stop);

/// Trains without a run folder; `progress` hears of every step.
void train_in_memory(const std::string& task, const Config& config, TrainObserver& progress);

/// torch_matrix_rate(); 0 where the program has no LibTorch.
double library_matrix_rate(ThreadPool& pool, Precision precision, double seconds);

/// learned_outputs().
MemberOutputs learned_outputs_of(const Config& config, const TaskSpec& spec);

/// time_updates().
UpdateTimes update_times(const Config& config, int nx, int nu, int rounds);

/// play() with the bundle's own task; `path` names the bundle in errors.
std::vector<double> play_bundle(const Bundle& bundle, const std::string& path,
                                const PlayOptions& options, std::vector<int>& lengths);

}  // namespace softmpc::tools
