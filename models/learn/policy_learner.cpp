// SPDX-License-Identifier: Apache-2.0
#include "learn/policy_learner.h"

#include "learn/initialisation.h"
#include "learn/net_specs.h"
#include "softmpc/hd/math.h"
#include "softmpc/hd/prior.h"

namespace softmpc {

PolicyLearner::PolicyLearner(const PolicyConfig& config, int nx, std::vector<float> low,
                             std::vector<float> high, std::uint64_t seed)
    : config_(config),
      low_(std::move(low)),
      high_(std::move(high)),
      net_(1, policy_spec(config, nx, static_cast<int>(low_.size())), config.learning_rate),
      target_(1, net_.spec(), config.learning_rate) {
  net_.initialise(seed, kPolicy);
  target_.initialise(seed, kPolicy);
}

void PolicyLearner::update(const ReplayBatch& batch, CriticLearner& critic,
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
  target_.follow(net_, config_.tau);
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
