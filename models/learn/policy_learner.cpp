// SPDX-License-Identifier: Apache-2.0
#include "learn/policy_learner.h"

#include <algorithm>

#include "learn/initialisation.h"
#include "learn/net_specs.h"
#include "softmpc/hd/math.h"
#include "softmpc/hd/prior.h"

namespace softmpc {

PolicyLearner::PolicyLearner(const LearnerSetup& s)
    : config_(s.policy),
      imagined_steps_(s.critic.imagined_steps),
      low_(s.action_low),
      high_(s.action_high),
      net_(1, policy_spec(s.policy, s.nx, s.nu), s.policy.learning_rate),
      target_(1, net_.spec(), s.policy.learning_rate) {
  net_.initialise(s.seed, kPolicy);
  target_.initialise(s.seed, kPolicy);
  if (s.policy.objective == PolicyObjective::rollout) rollout_.emplace(s);
}

const ImaginedRows* PolicyLearner::imagine(const ReplayBatch& batch, const EnsembleLearner& members,
                                           const CriticLearner& critics,
                                           const NetNormalisation& normalisation) {
  if (imagined_steps_ == 0) return nullptr;
  rollout_->forward(batch, members, net_, normalisation,
                    static_cast<std::uint32_t>(critics.updates() + 1));
  return &rollout_->imagine(critics, imagined_steps_);
}

void PolicyLearner::update(const ReplayBatch& batch, const EnsembleLearner& members,
                           CriticLearner& critics, const NetNormalisation& normalisation) {
  if (rollout_)
    climb_rollout(batch, members, critics, normalisation);
  else
    climb_critic(batch, critics, normalisation);
  target_.follow(net_, config_.tau);
}

void PolicyLearner::climb_rollout(const ReplayBatch& batch, const EnsembleLearner& members,
                                  const CriticLearner& critics,
                                  const NetNormalisation& normalisation) {
  // neither policy nor members have changed since imagine()
  if (imagined_steps_ == 0)
    rollout_->forward(batch, members, net_, normalisation,
                      static_cast<std::uint32_t>(critics.updates()));
  rollout_->backward(members, critics, net_, normalisation);
  const TrainBlock &input = rollout_->input(), &gradient = rollout_->gradient();
  net_.forward(0, input, scratch_);
  std::ranges::copy(gradient.data, net_.output_gradient(input, scratch_));
  net_.begin_step();
  net_.descend(0, input, scratch_);
}

void PolicyLearner::climb_critic(const ReplayBatch& batch, CriticLearner& critic,
                                 const NetNormalisation& normalisation) {
  const int n = batch.size, nu = static_cast<int>(low_.size());
  network_input(normalisation, batch.x, {}, n, input_);
  const int lanes = input_.lanes;
  const float* z = net_.forward(0, input_, scratch_);
  unit_.resize(static_cast<std::size_t>(n) * nu);
  action_.resize(unit_.size());
  for (int j = 0; j < n; ++j)
    for (int i = 0; i < nu; ++i) {
      const std::size_t at = static_cast<std::size_t>(j) * nu + i;
      unit_[at] = hd::tanh(z[static_cast<std::ptrdiff_t>(i) * lanes + j]);
      action_[at] = hd::from_unit(unit_[at], low_[i], high_[i]);
    }
  // dL/dz = -1/N dQ/da da/dz
  const std::vector<float> dq = critic.action_gradient(batch.x, action_, n);
  float* dz = net_.output_gradient(input_, scratch_);
  for (int j = 0; j < n; ++j)
    for (int i = 0; i < nu; ++i) {
      const std::size_t at = static_cast<std::size_t>(j) * nu + i;
      dz[static_cast<std::ptrdiff_t>(i) * lanes + j] =
          -dq[at] / static_cast<float>(n) * hd::from_unit_slope(unit_[at], low_[i], high_[i]);
    }
  net_.begin_step();
  net_.descend(0, input_, scratch_);
}

void PolicyLearner::save(TensorFile& file) const {
  net_.save(file, "policy");
  target_.save_parameters(file, "policy.target");
}

void PolicyLearner::load(const TensorFile& file) {
  net_.load(file, "policy");
  target_.load_parameters(file, "policy.target");
}

}  // namespace softmpc
