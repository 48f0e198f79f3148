// SPDX-License-Identifier: Apache-2.0
// The soft MPCritic trainer: act, store, target plans, updates. arXiv 2604.01477, Algorithm 1.
// No torch header is reachable from here.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "softmpc/bundle.h"
#include "softmpc/config.h"
#include "softmpc/controller.h"
#include "softmpc/task.h"

namespace softmpc {

namespace cuda {
class Device;  // softmpc/cuda.h opens one
}

struct EpisodeEnd {
  std::int64_t step = 0;  ///< environment steps so far, this episode's last included
  double episode_return = 0;
  int length = 0;
};

struct TrainReport {
  std::int64_t step = 0;
  double steps_per_second = 0;           ///< since the last report; exempt from bit equality
  std::map<std::string, double> values;  ///< "critic_loss", ...; models/README.md has the list
  /// "NAME: what was seen": the critic runs away or is dead, the ensemble has collapsed, a loss is
  /// not finite.
  std::vector<std::string> warnings;
};

struct EvalReport {
  std::int64_t step = 0;
  std::vector<double> returns;
};

/// Called from the training thread, in step order.
class TrainObserver {
 public:
  virtual ~TrainObserver() = default;
  virtual void on_episode(const EpisodeEnd&) {}
  virtual void on_train(const TrainReport&) {}
  virtual void on_eval(const EvalReport&) {}
  virtual void on_step(std::int64_t step) { (void)step; }
  /// Before a checkpoint is written: make what has been reported durable. Returns text that the
  /// checkpoint keeps and `resume` hands back (where to cut files, for one).
  virtual std::string on_checkpoint(std::int64_t step) {
    (void)step;
    return {};
  }
};

/// One training run. Deterministic: the same config gives the same bits for any thread count.
class Trainer {
 public:
  /// `device` is for config.trainer.device cuda; null: the machine's first one. Throws UsageError
  /// for settings that do not fit the task or the device, Error where there is no device.
  Trainer(const Config& config, const Task& task, std::shared_ptr<cuda::Device> device = nullptr);
  ~Trainer();

  /// Continues from DIR/checkpoint: returns false if there is none. `observer_state` receives what
  /// on_checkpoint returned. Throws Error if it is corrupt or of other settings.
  bool resume(const std::string& checkpoint_dir, std::string* observer_state);

  /// Trains until config.trainer.steps or until *stop becomes true: then a checkpoint is written,
  /// if need be within a step, between two of its updates or with its evaluation given up; a
  /// resumed run makes up for what the step lacks, with the same result. Checkpoints go to
  /// `checkpoint_dir`; empty: none. With trainer.on_warning stop, a report with warnings ends it
  /// with an Error after a checkpoint; with recover, the nets named get new start values.
  void run(TrainObserver& observer, const std::string& checkpoint_dir,
           const std::atomic<bool>* stop = nullptr);

  std::int64_t step() const;
  /// All steps of the settings are done, with their updates and evaluations.
  bool finished() const;
  /// The nets as they are now.
  Bundle bundle() const;
  /// A hash over nets, optimisers, replay and plans: equal runs have equal hashes.
  std::uint64_t state_hash() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// A step of play() that is about to be made. Spans and references hold during the call.
struct PlayStep {
  int episode = 0, step = 0;
  const Environment& environment;
  std::span<const float> observation;      ///< [nx]
  std::span<const float> action;           ///< [nu]
  const Plan* plan = nullptr;              ///< that gave the action; null: the policy did
  const Controller* controller = nullptr;  ///< whose plan it is; null: the policy acts
  double reward = 0;                       ///< of the step before
  double episode_return = 0;               ///< so far
};

struct PlayOptions {
  int episodes = 5;
  std::uint64_t seed = 1000;
  int threads = 0;
  const std::atomic<bool>* stop = nullptr;  ///< once true, play() returns the whole episodes so far
  /// Makes the controller; empty: one on the CPU.
  std::function<Controller(const Bundle&, const RewardModel*, ControllerOptions)> controller;
  std::function<void(const PlayStep&)> on_step{};
  /// Number of the first episode, and what its controller began with, to play it again: one of
  /// `starts`. Empty: as a controller that was just made.
  int first = 0;
  std::span<const std::byte> start{};
  /// Gets Controller::save_state() of each episode's begin; empty where a policy acts. Null: not
  /// asked for.
  std::vector<std::vector<std::byte>>* starts = nullptr;
};

/// Plays episodes with the bundle's planner, clip(u_0) executed, no updates. Returns per episode.
std::vector<double> play(const Bundle& bundle, const Task& task, const PlayOptions& options,
                         std::vector<int>* lengths = nullptr);

}  // namespace softmpc
