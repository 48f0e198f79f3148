// SPDX-License-Identifier: Apache-2.0
// The policy network of the variants that have one.
#pragma once

#include <optional>
#include <vector>

#include "learn/learner.h"
#include "learn/learners.h"
#include "learn/policy_rollout.h"

namespace softmpc {

/// Deterministic policy mu(x) = mid + half tanh(net(x)), trained on what policy.objective says:
/// -Q by the deterministic policy gradient (Silver et al. 2014), or the value gradient of
/// policy_rollout.h.
class PolicyLearner {
 public:
  explicit PolicyLearner(const LearnerSetup& setup);
  /// What the critics learn of the policy's rollouts before their update: critic.imagined_steps;
  /// null where that is 0. `members` are those that planners have.
  const ImaginedRows* imagine(const ReplayBatch& batch, const EnsembleLearner& members,
                              const CriticLearner& critics, const NetNormalisation& normalisation);
  /// One gradient step; moves the target policy. `normalisation` is the policy's own. `critics` are
  /// those after their update, batch and members as given to imagine().
  void update(const ReplayBatch& batch, const EnsembleLearner& members, CriticLearner& critics,
              const NetNormalisation& normalisation);

  NetWeights weights(const NetNormalisation& normalisation) const {
    return net_.weights(normalisation);
  }
  NetWeights target_weights(const NetNormalisation& normalisation) const {
    return target_.weights(normalisation);
  }
  void save(TensorFile& file) const;
  void load(const TensorFile& file);

 private:
  void climb_critic(const ReplayBatch& batch, CriticLearner& critic,
                    const NetNormalisation& normalisation);
  void climb_rollout(const ReplayBatch& batch, const EnsembleLearner& members,
                     const CriticLearner& critics, const NetNormalisation& normalisation);

  PolicyConfig config_;
  int imagined_steps_;
  std::vector<float> low_, high_;
  FusedMlp net_, target_;
  std::optional<PolicyRollout> rollout_;
  TrainBlock input_;
  TrainScratch scratch_;
  std::vector<float> unit_, action_;  // [N, nu] tanh(net(x)), mu(x)
};

}  // namespace softmpc
