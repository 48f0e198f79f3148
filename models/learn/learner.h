// SPDX-License-Identifier: Apache-2.0
// The gradient steps of one run: batches and targets in, losses out, nets that planners read. How
// they are computed is the implementation's: fused_learner.h, or LibTorch (torch/torch_learner.h).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "io/safetensors.h"
#include "replay.h"
#include "softmpc/config.h"
#include "softmpc/model.h"
#include "softmpc/network.h"
#include "softmpc/thread_pool.h"

namespace softmpc {

/// What the nets are built from.
struct LearnerSetup {
  ModelConfig model;
  CriticConfig critic;
  PolicyConfig policy;
  bool has_policy = false;
  // of targets; what the policy's rollouts plan for: policy.objective rollout
  PlannerConfig planner;
  const RewardModel* reward = nullptr;  ///< borrowed; its terminations
  int nx = 0, nu = 0;
  std::vector<float> action_low, action_high;  ///< [nu]
  MemberOutputs outputs;
  Precision precision = Precision::float32;  ///< of the members in planners; resolved
  std::uint64_t seed = 0;                    ///< of the start values
};

/// One update of the critics; both are of the critics before it.
struct CriticStep {
  double loss = 0;                ///< mean over batch and critics
  double mean_value = 0;          ///< mean of Q over batch and critics
  std::span<const float> errors;  ///< [N] Q(x, a) - y, mean over critics; until the next update
};

class Learner {
 public:
  virtual ~Learner() = default;

  // What planners read. The references stay the same objects only until the next finish_members().
  virtual const DynamicsModel& dynamics() const = 0;
  virtual const TerminalValue& value(int critic, bool target) const = 0;
  virtual const Policy* policy(bool target) const = 0;  ///< null without a policy

  /// Starts an update of the members on threads of `pool`; dynamics() is untouched until
  /// finish_members(), which follows pool.finish(). `batch` must live until then.
  virtual void start_members(const ReplayBatch& batch, ThreadPool& pool) = 0;
  /// The planners get the new members. Returns the loss before the update: the mean over batch,
  /// components and members.
  virtual double finish_members() = 0;

  /// One step of the critics towards y [N] and, as often as the settings say, of their targets and
  /// of the policy. Planners may not run meanwhile; they read the new nets after publish().
  virtual CriticStep update_critics(const ReplayBatch& batch, std::span<const float> y) = 0;
  virtual void publish() = 0;

  /// Constants around the nets, the caller's to set between updates. A policy takes the critics'
  /// for its states.
  virtual NetNormalisation& member_normalisation() = 0;
  virtual NetNormalisation& critic_normalisation() = 0;

  virtual NetWeights member_weights() const = 0;
  virtual NetWeights critic_weights() const = 0;
  virtual NetWeights policy_weights() const = 0;  ///< no nets without a policy

  /// Everything that later updates depend on, the normalisation apart. All learners write the same
  /// entries, so that one continues what another began.
  virtual void save(TensorFile& file) const = 0;
  /// Throws Error where an entry is missing or has another size. The normalisation must be set
  /// before; planners have the nets afterwards.
  virtual void load(const TensorFile& file) = 0;
};

/// `automatic` is the fused one: on the CPU it is faster at every batch (`softmpc bench update`),
/// and it trains every net that the settings describe.
/// Throws Error where the build lacks what `kind` needs.
std::unique_ptr<Learner> make_learner(LearnerKind kind, const LearnerSetup& setup);

}  // namespace softmpc
