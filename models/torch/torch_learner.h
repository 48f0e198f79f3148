// SPDX-License-Identifier: Apache-2.0
// The general learner: losses are written as tensor expressions, gradients come from autograd, so
// that a new layer or loss needs no backward pass of its own. Planners read copies of the
// parameters in the CPU's packed order, made after each update.
#pragma once

#include <optional>

#include "learn/learner.h"
#include "torch/torch_net.h"

namespace softmpc {

class TorchLearner final : public Learner {
 public:
  /// `options`: type and place of the computation.
  TorchLearner(const LearnerSetup& setup, torch::TensorOptions options);

  const DynamicsModel& dynamics() const override { return *dynamics_; }
  const TerminalValue& value(int critic, bool target) const override {
    return *(target ? target_value_ : online_value_)[critic];
  }
  const Policy* policy(bool target) const override {
    return (target ? target_policy_ : online_policy_).get();
  }
  void start_members(const ReplayBatch& batch, ThreadPool& pool) override;
  double finish_members() override;
  CriticStep update_critics(const ReplayBatch& batch, std::span<const float> y) override;
  void publish() override;
  NetNormalisation& member_normalisation() override { return member_weights_.normalisation; }
  NetNormalisation& critic_normalisation() override { return critic_weights_.normalisation; }
  NetWeights member_weights() const override;
  NetWeights critic_weights() const override;
  NetWeights policy_weights() const override;
  void save(TensorFile& file) const override;
  void load(const TensorFile& file) override;

 private:
  torch::Tensor rows(std::span<const float> values, int count) const;
  torch::Tensor standardised(const torch::Tensor& rows, const std::vector<float>& mean,
                             const std::vector<float>& std) const;
  torch::Tensor member_loss(const ReplayBatch& batch) const;
  torch::Tensor regression(const torch::Tensor& y, const torch::Tensor& target, Loss loss,
                           double delta) const;
  torch::Tensor act(const torch::Tensor& x) const;
  torch::Tensor ended(const torch::Tensor& next, const torch::Tensor& model_output) const;
  torch::Tensor critic_objective(const torch::Tensor& x) const;
  /// A rollout of the policy: of its H+1 steps [x, mu(x)], whether it goes on, and the price; of
  /// the first H the reward.
  struct Rollout {
    std::vector<torch::Tensor> joined, alive, price, reward;
  };
  Rollout roll_out(const torch::Tensor& start, std::int64_t update) const;
  torch::Tensor rollout_objective(const torch::Tensor& start) const;
  torch::Tensor imagined_loss(const torch::Tensor& start, std::int64_t update) const;
  void update_policy(const ReplayBatch& batch);

  LearnerSetup setup_;
  torch::TensorOptions options_;
  TorchNet members_, critics_, targets_;
  std::optional<TorchNet> policy_, policy_target_;
  std::optional<TorchNet> planned_members_;     // what planners have; of policy.objective rollout
  torch::Tensor half_, mid_;                    // [nu] of the action box
  torch::Tensor neutral_, inverse_covariance_;  // [nu], [nu, nu] Sigma^-1
  NetWeights member_weights_, critic_weights_, policy_weights_;  // copies for planners
  double member_loss_ = 0;
  std::int64_t critic_updates_ = 0;
  std::vector<float> errors_;  // [N]

  std::unique_ptr<MlpDynamics> dynamics_;
  std::vector<std::unique_ptr<MlpValue>> online_value_, target_value_;
  std::unique_ptr<MlpPolicy> online_policy_, target_policy_;
};

}  // namespace softmpc
