// SPDX-License-Identifier: Apache-2.0
// The learner of plain nets at small batches: parameters lie where planners read them, forward,
// backward and Adam are the planner's kernels (fused_mlp.h), members learn side by side.
#pragma once

#include <optional>

#include "learn/learner.h"
#include "learn/learners.h"
#include "learn/policy_learner.h"

namespace softmpc {

class FusedLearner final : public Learner {
 public:
  explicit FusedLearner(const LearnerSetup& setup);

  const DynamicsModel& dynamics() const override { return *dynamics_[members_.active()]; }
  const TerminalValue& value(int critic, bool target) const override {
    return *(target ? target_value_ : online_value_)[critic];
  }
  const Policy* policy(bool target) const override {
    return (target ? target_policy_ : online_policy_).get();
  }
  void start_members(const ReplayBatch& batch, ThreadPool& pool) override;
  double finish_members() override { return members_.finish(); }
  CriticStep update_critics(const ReplayBatch& batch, std::span<const float> y) override;
  void publish() override;
  NetNormalisation& member_normalisation() override { return members_.normalisation(); }
  NetNormalisation& critic_normalisation() override { return critics_.normalisation(); }
  NetWeights member_weights() const override { return members_.weights(); }
  NetWeights critic_weights() const override { return critics_.weights(); }
  NetWeights policy_weights() const override;
  void save(TensorFile& file) const override;
  void load(const TensorFile& file) override;

 private:
  NetNormalisation policy_constants() const;

  LearnerSetup setup_;
  EnsembleLearner members_;
  CriticLearner critics_;
  std::optional<PolicyLearner> policy_;
  std::vector<TrainScratch> scratch_;  // per worker

  // planners' views of the nets above
  std::unique_ptr<MlpDynamics> dynamics_[2];  // of the members' two copies
  std::vector<std::unique_ptr<MlpValue>> online_value_, target_value_;
  std::unique_ptr<MlpPolicy> online_policy_, target_policy_;
};

}  // namespace softmpc
