// SPDX-License-Identifier: Apache-2.0
// Runs the trainer into a run folder, and plays with what it made.
#include "train/training.h"

#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "agent.h"
#include "io/folder_lock.h"
#include "learn/torch_backend.h"
#include "program/gpu_device.h"
#include "run/run_folder.h"
#include "softmpc/error.h"
#include "softmpc/task.h"

namespace softmpc::tools {
namespace {

/// Tells run folder and progress; keeps the bundle as new as the checkpoint.
class RunObserver final : public TrainObserver {
 public:
  RunObserver(const TrainRequest& request, const Trainer& trainer, RunFolder& folder,
              TrainObserver& progress)
      : request_(request), trainer_(trainer), folder_(folder), progress_(progress) {}

  void on_episode(const EpisodeEnd& episode) override {
    folder_.on_episode(episode);
    progress_.on_episode(episode);
  }
  void on_train(const TrainReport& report) override {
    folder_.on_train(report);
    progress_.on_train(report);
  }
  void on_eval(const EvalReport& report) override {
    folder_.on_eval(report);
    progress_.on_eval(report);
  }
  void on_step(std::int64_t step) override { progress_.on_step(step); }
  std::string on_checkpoint(std::int64_t step) override {
    std::string state = folder_.on_checkpoint(step);
    save_bundle_of(step);
    return state;
  }

  void save_bundle_of(std::int64_t step) {
    if (step == saved_) return;
    Bundle bundle = trainer_.bundle();
    nlohmann::ordered_json provenance = {{"softmpc", SOFTMPC_VERSION},
                                         {"preset", request_.preset},
                                         {"seed", request_.config.trainer.seed},
                                         {"step", step},
                                         {"finished", trainer_.finished()}};
    provenance.update(nlohmann::ordered_json::parse(bundle.provenance));
    bundle.provenance = provenance.dump();
    save_bundle(bundle, folder_.model_path());
    saved_ = step;
  }

 private:
  const TrainRequest& request_;
  const Trainer& trainer_;
  RunFolder& folder_;
  TrainObserver& progress_;
  std::int64_t saved_ = -1;
};

std::shared_ptr<cuda::Device> device_of(const Config& config) {
  return config.trainer.device == Device::cuda ? cuda_device() : nullptr;
}

}  // namespace

RecordedRun read_recorded_run(const std::string& out) {
  RunInfo info = read_run_info(out);
  return {info.task, info.preset, info.config};
}

TrainOutcome train(const TrainRequest& request, TrainObserver& progress,
                   const std::atomic<bool>& stop) {
  const auto begin = std::chrono::steady_clock::now();
  std::optional<FolderLock> lock;
  std::error_code fault;
  if (std::filesystem::is_directory(request.out, fault)) lock.emplace(request.out, "trained");
  // what can be refused is refused before the folder is touched
  Trainer trainer(request.config, find_task(request.task), device_of(request.config));
  const std::string checkpoints = (std::filesystem::path(request.out) / "checkpoint").string();
  std::string folder_state;
  const bool resumed = request.resume && trainer.resume(checkpoints, &folder_state);
  if (!lock && !std::filesystem::exists(request.out, fault)) {
    std::filesystem::create_directories(request.out, fault);
    if (fault) throw Error(request.out + ": cannot create the folder: " + fault.message());
    lock.emplace(request.out, "trained");
  }
  RunFolder folder(request.out, {request.task, request.preset, SOFTMPC_VERSION, request.config},
                   request.resume);
  TrainOutcome outcome;
  outcome.lost = folder.cut_back(resumed ? folder_state : std::string());
  outcome.start = trainer.step();
  RunObserver observer(request, trainer, folder, progress);
  trainer.run(observer, checkpoints, &stop);
  observer.save_bundle_of(trainer.step());
  outcome.steps = trainer.step();
  outcome.stopped = !trainer.finished();
  outcome.state_hash = trainer.state_hash();
  outcome.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return outcome;
}

void check_request(const TrainRequest& request) {
  Trainer(request.config, find_task(request.task));
}

void train_in_memory(const std::string& task, const Config& config, TrainObserver& progress) {
  Trainer(config, find_task(task), device_of(config)).run(progress, "");
}

MemberOutputs learned_outputs_of(const Config& config, const TaskSpec& spec) {
  return learned_outputs(config, spec);
}

UpdateTimes update_times(const Config& config, int nx, int nu, int rounds) {
  return time_updates(config, nx, nu, rounds);
}

double library_matrix_rate(ThreadPool& pool, Precision precision, double seconds) {
  return torch_matrix_rate(pool, precision, seconds);
}

std::vector<double> play_bundle(const Bundle& bundle, const std::string& path,
                                const PlayOptions& options, std::vector<int>& lengths) {
  try {
    return play(bundle, find_task(bundle.task), options, &lengths);
  } catch (const UsageError& error) {
    throw Error(path + ": " + error.what());  // the bundle is wrong, not the command line
  }
}

}  // namespace softmpc::tools
