// SPDX-License-Identifier: Apache-2.0
// The dynamics ensemble and the critics: networks with their losses, optimisers and targets.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "learn/fused_mlp.h"
#include "learn/learner.h"
#include "replay.h"
#include "softmpc/config.h"
#include "softmpc/network.h"

namespace softmpc {

/// Rows of [x, a] as columns, normalised; `more` columns follow, zero.
void network_input(const NetNormalisation& normalisation, const std::vector<float>& x,
                   const std::vector<float>& a, int count, TrainBlock& block, int more = 0);

/// States and actions of a policy's rollouts, and what the critics are to say of them.
struct ImaginedRows {
  TrainBlock input;           // [nx + nu, M] x and a
  std::vector<float> target;  // [M]
  std::vector<float> alive;   // [M] 1, or 0 where the row counts for nothing
};

/// E models of the state change, and of reward and termination where they are learned. One update
/// is prepare(), then update_member() for every member in any order and on any thread, then
/// finish(); planners read the old weights until then.
class EnsembleLearner {
 public:
  EnsembleLearner(const ModelConfig& config, int nx, int nu, MemberOutputs outputs,
                  Precision precision, std::uint64_t seed);

  void prepare(const ReplayBatch& batch);
  void update_member(int member, TrainScratch& scratch);
  /// Returns the loss before the update: the mean over batch, components and members.
  double finish();

  const FusedMlp& mlp() const { return net_; }
  int members() const { return net_.stack(); }
  MemberOutputs outputs() const { return outputs_; }
  const std::shared_ptr<PackedMlp>& net(int copy) const { return net_.net(copy); }
  int active() const { return net_.active(); }
  /// The caller's to set.
  NetNormalisation& normalisation() { return normalisation_; }
  const NetNormalisation& normalisation() const { return normalisation_; }
  NetWeights weights() const;
  void save(TensorFile& file) const { net_.save(file, "members"); }
  void load(const TensorFile& file);

 private:
  ModelConfig config_;
  int nx_, nu_;
  MemberOutputs outputs_;
  FusedMlp net_;
  NetNormalisation normalisation_;
  TrainBlock input_, target_, terminated_;
  std::vector<double> loss_;  // [E] sums
};

/// Critics Q(x, a) and their Polyak-averaged targets.
class CriticLearner {
 public:
  CriticLearner(const CriticConfig& config, int nx, int nu, std::uint64_t seed);
  /// One step towards targets y [N], and towards those of `imagined` (may be null), whose mean
  /// error weighs as much; every target_interval-th also moves the target critics. Of the batch
  /// alone are what it returns.
  CriticStep update(const ReplayBatch& batch, std::span<const float> y,
                    const ImaginedRows* imagined = nullptr);

  /// dQ/da [N, nu] of the first critic at actions a, for the policy.
  std::vector<float> action_gradient(const std::vector<float>& x, const std::vector<float>& a,
                                     int count);

  const FusedMlp& mlp() const { return net_; }
  const FusedMlp& target_mlp() const { return target_; }
  std::int64_t updates() const { return updates_; }
  const std::shared_ptr<PackedMlp>& net() const { return net_.net(); }
  const std::shared_ptr<PackedMlp>& target() const { return target_.net(); }
  /// The caller's to set, of critics and targets alike.
  NetNormalisation& normalisation() { return normalisation_; }
  const NetNormalisation& normalisation() const { return normalisation_; }
  /// Hands the normalisation to the planners' critics.
  void publish();
  NetWeights weights() const;
  void save(TensorFile& file) const;
  void load(const TensorFile& file);

 private:
  void take_rows(const ReplayBatch& batch, std::span<const float> y, const ImaginedRows* imagined);

  CriticConfig config_;
  int nx_, nu_;
  FusedMlp net_, target_;
  NetNormalisation normalisation_;
  std::int64_t updates_ = 0;
  std::vector<float> errors_;  // [N]
  TrainBlock input_, y_;
  TrainScratch scratch_;
};

}  // namespace softmpc
