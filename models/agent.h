// SPDX-License-Identifier: Apache-2.0
// What learns and acts: networks, planners and replay of one run. It knows no episode, file or log.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "learners.h"
#include "normaliser.h"
#include "planner_targets.h"
#include "policy_learner.h"
#include "replay.h"
#include "safetensors.h"
#include "softmpc/bundle.h"
#include "softmpc/config.h"
#include "softmpc/planner.h"
#include "softmpc/task.h"
#include "softmpc/thread_pool.h"

namespace softmpc {

/// Sums over updates, for the "train" lines.
struct UpdateSums {
  double critic_loss = 0, model_loss = 0, q = 0, target = 0;
  std::int64_t critic_updates = 0, model_updates = 0;
};

/// Environment steps that may run beside an update which does not need them. The result is that of
/// simulating and storing first.
struct Simulation {
  int environments = 0;
  std::function<void(int environment)> step;  ///< on any thread
  std::function<void()> store;                ///< after all steps: one transition each
};

class Agent {
 public:
  /// `config.planner.precision` must be resolved.
  Agent(const Config& config, const Task& task, ThreadPool& pool);

  // acting, for config.trainer.envs environments side by side
  /// Draws the plan that an episode starts from.
  void start_episode(int environment, std::uint32_t episode);
  /// Chooses actions [N, nu] for x [N, nx]; `step` keys the exploration noise. Throws Error if the
  /// planner finds no finite rollout: the networks have diverged.
  std::span<const float> act(std::span<const float> x, std::int64_t step);
  double value() const;              ///< mean soft value of the last act()
  double effective_samples() const;  ///< its mean over environments

  // learning
  /// Stores a transition with the action and plan of the last act().
  void store(int environment, std::span<const float> x, std::span<const float> next, float reward,
             bool terminated);
  /// `count` rounds of critic and model updates, as the settings say; each flag turns one off.
  void update(std::int64_t count, bool critic, bool model, UpdateSums& sums);
  /// The same after `simulation`, or beside it.
  void simulate_and_update(const Simulation& simulation, std::int64_t count, UpdateSums& sums);
  /// Steps all environments on all threads, then stores.
  void simulate(const Simulation& simulation);
  const Replay& replay() const { return replay_; }
  Replay& replay() { return replay_; }

  Bundle bundle() const;
  /// Every tensor, counter and statistic that decides what follows, the replay apart.
  void save(TensorFile& file) const;
  /// Throws Error where `file` lacks something or has it in another shape.
  void load(const TensorFile& file);

 private:
  struct Round {
    bool critic, model;
  };
  Round round(int index, bool critic, bool model) const;
  void draw_batches(Round round, std::int64_t pending);
  bool draws_pending(Round round, std::int64_t pending) const;
  void learn(Round round, UpdateSums& sums);
  void critic_update(UpdateSums& sums);
  void start_model_update();
  void compute_targets(const ReplayBatch& batch);
  void refresh_normalisation();
  void publish_critics();
  bool normalises() const;
  Models models(bool target, int critic) const;

  Config config_;
  TaskSpec spec_;
  ThreadPool& pool_;
  std::unique_ptr<RewardModel> reward_;
  std::unique_ptr<DynamicsModel> simulator_;  // model.source = environment

  EnsembleLearner ensemble_;
  CriticLearner critics_;
  std::optional<PolicyLearner> policy_;
  Replay replay_;
  RunningStatistics input_statistics_, output_statistics_;  // of [x, a]; of [x' - x, r]

  // planners' views of the networks above
  std::unique_ptr<MlpDynamics> dynamics_[2];  // of the ensemble's two copies
  std::vector<std::unique_ptr<MlpValue>> online_value_, target_value_;
  std::unique_ptr<MlpPolicy> online_policy_, target_policy_;
  Planner planner_;
  PlannerTargets planner_targets_;

  std::uint32_t solves_ = 0;             // keys of solves
  std::uint64_t draws_ = 0;              // keys of replay samples
  std::vector<float> plan_, action_;     // of the last act(): [N, H+1, nu], [N, nu]
  std::vector<double> value_, samples_;  // [N]
  std::vector<PlanStatus> status_;       // [N]

  // scratch of an update
  ReplayBatch critic_batch_, model_batch_;
  std::vector<float> targets_;
  std::vector<TrainScratch> scratch_;  // per worker
};

}  // namespace softmpc
