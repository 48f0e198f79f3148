// SPDX-License-Identifier: Apache-2.0
// The folder of one training run: config.json, metrics.jsonl, a TensorBoard event file, and the
// places of checkpoint/ and model.safetensors. Observes the trainer and writes what it reports.
#pragma once

#include <memory>
#include <string>

#include "softmpc/config.h"
#include "softmpc/train/trainer.h"

namespace softmpc {

/// What a run is, apart from its progress.
struct RunInfo {
  std::string task;
  std::string preset;   ///< where the settings started from; for readers only
  std::string version;  ///< of softmpc
  Config config;        ///< resolved: no `auto` is left in it
};

/// One process at a time: who constructs it holds a FolderLock on `path`.
///
/// Use: construct; to resume: Trainer::resume from checkpoint_dir(), then cut_back() to the state
/// that it hands back, or to "" if it found no checkpoint; run.
class RunFolder final : public TrainObserver {
 public:
  /// Creates `path` and writes config.json. Without `resume` a non-empty folder is a UsageError;
  /// with it what is there, config.json included, is kept until cut_back().
  RunFolder(const std::string& path, const RunInfo& info, bool resume);
  ~RunFolder() override;

  /// Cuts metrics and events back to the checkpoint that kept `observer_state`; an empty text (no
  /// checkpoint) empties both. Then config.json is written anew, with the time of the first start.
  /// Files that hold less than the checkpoint says, as after two programs wrote them, keep their
  /// whole lines; the sentence about what is lost is returned, "" if nothing is.
  std::string cut_back(const std::string& observer_state);

  const std::string& path() const;
  std::string checkpoint_dir() const;
  std::string model_path() const;

  void on_episode(const EpisodeEnd& episode) override;
  void on_train(const TrainReport& report) override;
  void on_eval(const EvalReport& report) override;
  std::string on_checkpoint(std::int64_t step) override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The bundle of a run folder `path`.
std::string run_model_path(const std::string& path);
/// True if `path` is a run folder: it holds a config.json.
bool is_run_folder(const std::string& path);
/// Reads config.json of a run folder, to resume or report it. Throws Error naming the file.
RunInfo read_run_info(const std::string& path);

}  // namespace softmpc
