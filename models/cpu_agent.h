// SPDX-License-Identifier: Apache-2.0
// The agent that learns and plans on the CPU: everything that a setting offers.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "agent.h"
#include "learners.h"
#include "planner_targets.h"
#include "policy_learner.h"
#include "softmpc/planner.h"

namespace softmpc {

class CpuAgent final : public Agent {
 public:
  CpuAgent(const Config& config, const Task& task, ThreadPool& pool);

  void start_episode(int environment, std::uint32_t episode) override;
  std::span<const float> act(std::span<const float> x, std::int64_t step) override;
  double value() const override;
  double effective_samples() const override;
  void store(int environment, std::span<const float> x, std::span<const float> next, float reward,
             bool terminated) override;
  Bundle bundle() const override;
  void save(TensorFile& file) override;
  void load(const TensorFile& file) override;

 private:
  void learn(Round round, const Simulation* beside, UpdateSums& sums) override;
  bool learns_model() const override { return !simulator_; }
  void critic_update(UpdateSums& sums);
  void start_model_update();
  void compute_targets(const ReplayBatch& batch);
  void refresh_normalisation();
  void publish_critics();
  Models models(bool target, int critic) const;

  std::unique_ptr<DynamicsModel> simulator_;  // model.source = environment
  EnsembleLearner ensemble_;
  CriticLearner critics_;
  std::optional<PolicyLearner> policy_;

  // planners' views of the networks above
  std::unique_ptr<MlpDynamics> dynamics_[2];  // of the ensemble's two copies
  std::vector<std::unique_ptr<MlpValue>> online_value_, target_value_;
  std::unique_ptr<MlpPolicy> online_policy_, target_policy_;
  std::unique_ptr<Planner> planner_;
  std::optional<PlannerTargets> planner_targets_;

  std::vector<float> plan_, action_;     // of the last act(): [N, H+1, nu], [N, nu]
  std::vector<double> value_, samples_;  // [N]
  std::vector<PlanStatus> status_;       // [N]

  // scratch of an update
  std::vector<float> targets_;
  std::vector<TrainScratch> scratch_;  // per worker
};

}  // namespace softmpc
