// SPDX-License-Identifier: Apache-2.0
#include "learn/fused_learner.h"

#include "learn/net_specs.h"

namespace softmpc {

FusedLearner::FusedLearner(const LearnerSetup& s)
    : setup_(s),
      members_(s.model, s.nx, s.nu, s.outputs, s.precision, s.seed),
      critics_(s.critic, s.nx, s.nu, s.seed) {
  for (int copy = 0; copy < 2; ++copy)
    dynamics_[copy] = std::make_unique<MlpDynamics>(members_.net(copy), s.nx, s.nu, s.outputs);
  for (int c = 0; c < s.critic.count; ++c) {
    online_value_.push_back(std::make_unique<MlpValue>(critics_.net(), s.nx, s.nu, c));
    target_value_.push_back(std::make_unique<MlpValue>(critics_.target(), s.nx, s.nu, c));
  }
  if (!s.has_policy) return;
  policy_.emplace(s);
  const NetWeights start = policy_weights();
  online_policy_ = std::make_unique<MlpPolicy>(start, s.action_low, s.action_high);
  target_policy_ = std::make_unique<MlpPolicy>(start, s.action_low, s.action_high);
}

NetNormalisation FusedLearner::policy_constants() const {
  return policy_normalisation(critics_.normalisation(), setup_.nx, setup_.nu);
}

void FusedLearner::start_members(const ReplayBatch& batch, ThreadPool& pool) {
  scratch_.resize(pool.threads());
  members_.prepare(batch);
  for (int member = 0; member < members_.members(); ++member)
    pool.start([this, member](int worker) { members_.update_member(member, scratch_[worker]); });
}

CriticStep FusedLearner::update_critics(const ReplayBatch& batch, std::span<const float> y) {
  const ImaginedRows* imagined =
      policy_ ? policy_->imagine(batch, members_, critics_, policy_constants()) : nullptr;
  const CriticStep step = critics_.update(batch, y, imagined);
  if (policy_ && critics_.updates() % setup_.policy.update_interval == 0)
    policy_->update(batch, members_, critics_, policy_constants());
  return step;
}

void FusedLearner::publish() {
  critics_.publish();
  if (!policy_) return;
  const NetNormalisation n = policy_constants();
  online_policy_->update(policy_->weights(n));
  target_policy_->update(policy_->target_weights(n));
}

NetWeights FusedLearner::policy_weights() const {
  if (!policy_) return {};
  return policy_->weights(policy_constants());
}

void FusedLearner::save(TensorFile& file) const {
  members_.save(file);
  critics_.save(file);
  if (policy_) policy_->save(file);
}

void FusedLearner::load(const TensorFile& file) {
  members_.load(file);
  critics_.load(file);
  if (policy_) policy_->load(file);
  publish();
}

}  // namespace softmpc
