// SPDX-License-Identifier: Apache-2.0
// The networks that are trained, each with its optimiser and its plain-array form for the planner:
// dynamics ensemble, critics with targets, policy with target.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "replay.h"
#include "softmpc/config.h"
#include "softmpc/network.h"
#include "stacked_mlp.h"

namespace softmpc {

/// Visits every tensor that a checkpoint must hold.
using TensorVisitor = std::function<void(const std::string& name, at::Tensor& tensor)>;

/// Input rows [x, a] of a batch, normalised as `net` says: [1, N, nx + nu].
at::Tensor network_input(const MlpWeights& net, const std::vector<float>& x,
                         const std::vector<float>& a, int rows);

/// E models of the state change, and of reward and termination where they are learned.
class EnsembleLearner {
 public:
  EnsembleLearner(const ModelConfig& config, int nx, int nu, MemberOutputs outputs,
                  std::uint64_t seed);
  /// One gradient step on a batch that all members share; returns the loss before it.
  double update(const ReplayBatch& batch);
  /// The weights as the planner reads them; its normalisation fields are the caller's to set.
  MlpWeights& exported() { return exported_; }
  const MlpWeights& exported() const { return exported_; }
  void export_weights() { net_.export_to(exported_); }
  MemberOutputs outputs() const { return outputs_; }
  void visit(const TensorVisitor& visitor);

 private:
  ModelConfig config_;
  int nx_, nu_;
  MemberOutputs outputs_;
  StackedMlp net_;
  Adam adam_;
  MlpWeights exported_;
};

/// Critics Q(x, a) and their Polyak-averaged targets.
class CriticLearner {
 public:
  CriticLearner(const CriticConfig& config, int nx, int nu, std::uint64_t seed);
  /// One step towards targets y [N]; every target_interval-th also moves the target critics.
  /// Returns the loss before it; `mean_value` receives the mean of Q.
  double update(const ReplayBatch& batch, const std::vector<float>& y, double& mean_value);
  /// True if the last update moved the target critics.
  bool target_moved() const { return updates_ % config_.target_interval == 0; }
  std::int64_t updates() const { return updates_; }
  void set_updates(std::int64_t updates) { updates_ = updates; }

  /// dQ/da [N, nu] of the first critic at actions a, for the policy.
  at::Tensor action_gradient(const std::vector<float>& x, const std::vector<float>& a, int rows);
  /// min over target critics of Q_target(x, a) [N].
  at::Tensor target_value(const std::vector<float>& x, const std::vector<float>& a, int rows);

  MlpWeights& exported() { return exported_; }
  const MlpWeights& exported() const { return exported_; }
  MlpWeights& exported_target() { return exported_target_; }
  void export_weights() { net_.export_to(exported_); }
  void export_target() { target_.export_to(exported_target_); }
  void visit(const TensorVisitor& visitor);

 private:
  CriticConfig config_;
  int nx_, nu_;
  StackedMlp net_, target_;
  Adam adam_;
  std::int64_t updates_ = 0;
  MlpWeights exported_, exported_target_;
};

/// Deterministic policy mu(x) = mid + half tanh(net(x)), trained by the deterministic policy
/// gradient (Silver et al. 2014) on -Q.
class PolicyLearner {
 public:
  PolicyLearner(const PolicyConfig& config, int nx, std::vector<float> low, std::vector<float> high,
                std::uint64_t seed);
  /// One gradient step; moves the target policy.
  void update(const ReplayBatch& batch, CriticLearner& critic);
  /// mu(x) or mu_target(x) for `rows` states: [N, nu].
  std::vector<float> act(const std::vector<float>& x, int rows, bool target);

  MlpWeights& exported() { return exported_; }
  const MlpWeights& exported() const { return exported_; }
  MlpWeights& exported_target() { return exported_target_; }
  void export_weights();
  void visit(const TensorVisitor& visitor);

 private:
  at::Tensor squash(const at::Tensor& tanh_output) const;

  PolicyConfig config_;
  int nx_;
  std::vector<float> low_, high_;
  at::Tensor mid_, half_;  // [nu]
  StackedMlp net_, target_;
  Adam adam_;
  MlpWeights exported_, exported_target_;
};

}  // namespace softmpc
