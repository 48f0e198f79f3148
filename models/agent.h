// SPDX-License-Identifier: Apache-2.0
// What learns and acts: networks, planners and replay of one run. It knows no episode, file or log.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "learners.h"
#include "normaliser.h"
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

class Agent {
 public:
  Agent(const Config& config, const Task& task, ThreadPool& pool);

  // acting
  /// Draws the plan that an episode starts from.
  void start_episode(std::uint32_t episode);
  /// Chooses the action for x [nx]; `step` keys the exploration noise. Throws Error if the planner
  /// finds no finite rollout: the networks have diverged.
  std::span<const float> act(std::span<const float> x, std::int64_t step);
  double value() const { return value_; }  ///< soft value of the last act()
  double effective_samples() const { return effective_samples_; }

  // learning
  /// Stores a transition with the plan of the last act().
  void store(std::span<const float> x, std::span<const float> next, float reward, bool terminated);
  /// `count` rounds of critic and model updates, as the settings say; each flag turns one off.
  void update(std::int64_t count, bool critic, bool model, UpdateSums& sums);
  const Replay& replay() const { return replay_; }
  Replay& replay() { return replay_; }

  Bundle bundle() const;
  /// Every tensor, counter and statistic that decides what follows, the replay apart.
  void save(TensorFile& file);
  /// Throws Error where `file` lacks something or has it in another shape.
  void load(const TensorFile& file);

 private:
  void critic_update(UpdateSums& sums);
  void model_update(UpdateSums& sums);
  void compute_targets(const ReplayBatch& batch);
  void planner_targets(const ReplayBatch& batch);
  void start_plans(const ReplayBatch& batch, std::uint32_t solve);
  void write_back(const ReplayBatch& batch);
  void solve(Planner& planner, const Models& models, std::uint32_t solve, int problems,
             std::span<const float> x, std::span<float> plan, std::span<float> action,
             std::span<double> value);
  void refresh_normalisation();
  void pack_critics(bool target);
  void visit(const TensorVisitor& visitor);
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

  // the planner's copies; of the dynamics there are two, so that one can be packed while the other
  // is planned with
  std::unique_ptr<MlpDynamics> dynamics_[2];
  int active_ = 0;
  std::vector<std::unique_ptr<MlpValue>> online_value_, target_value_;
  std::unique_ptr<MlpPolicy> online_policy_, target_policy_;
  Planner planner_, target_planner_;

  std::uint32_t solves_ = 0;          // keys of solves
  std::uint64_t draws_ = 0;           // keys of replay samples
  std::vector<float> plan_, action_;  // of the last act()
  double value_ = 0, effective_samples_ = 0;

  // scratch of an update
  ReplayBatch critic_batch_, model_batch_;
  std::vector<float> targets_, start_plan_, target_plan_, refined_plan_;
  std::vector<double> target_value_of_plan_, least_value_;
  std::vector<PlanStatus> status_;
};

}  // namespace softmpc
