// SPDX-License-Identifier: Apache-2.0
// From the command line of `softmpc train` to a run with all settings resolved.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "train/training.h"

namespace softmpc::tools {

/// The command line as typed; empty: not given.
struct TrainOptions {
  std::string task, preset, steps, seed, seeds, jobs, out, device, threads, envs;
  std::vector<std::string> settings;  ///< --set key.path=value
  bool resume = false, quiet = false, json = false, help_settings = false;
};

inline constexpr const char* kDefaultPreset = "default";

/// A..B, both ends included.
struct SeedRange {
  std::uint64_t first = 0, last = 0;
  std::uint64_t count() const { return last - first + 1; }
};
SeedRange read_seeds(const std::string& text);

/// The run folder: --out, or runs/TASK-PRESET-seedN.
std::string out_folder(const TrainOptions& options);

/// Defaults, then preset, then --set, then the flags; with --resume what DIR/config.json says,
/// which the command line may only confirm, but for the few settings that do not change the
/// results. Throws UsageError naming key, value and rule.
TrainRequest resolve(const TrainOptions& options);

/// The command that goes on with this run.
std::string resume_command(const TrainOptions& options);
/// A word as a shell reads it back.
std::string shell_word(const std::string& word);

}  // namespace softmpc::tools
