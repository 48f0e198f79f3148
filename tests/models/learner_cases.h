// SPDX-License-Identifier: Apache-2.0
// Small nets and random batches for tests of learners.
#pragma once

#include <vector>

#include "core/random_models.h"
#include "learn/learner.h"

namespace softmpc::testing {

inline LearnerSetup small_setup() {
  LearnerSetup s;
  s.nx = 5;
  s.nu = 2;
  s.model.members = 3;
  s.model.width = s.critic.width = s.policy.width = 24;
  s.model.learning_rate = s.critic.learning_rate = s.policy.learning_rate = 1e-3;
  s.critic.tau = s.policy.tau = 0.1;
  s.critic.count = 2;
  s.has_policy = true;
  s.action_low = {-2, -1};
  s.action_high = {2, 3};
  s.seed = 7;
  return s;
}

/// What a policy of policy.objective rollout needs beside small_setup(). Ends episodes by `reward`
/// if there is one, else by a learned termination.
inline void climb_rollouts(LearnerSetup& s, int horizon, const RewardModel* reward) {
  s.policy.objective = PolicyObjective::rollout;
  s.planner.horizon = horizon;
  s.planner.gamma = 0.95;
  s.planner.temperature = 0.3;
  s.planner.variance = {0.2, 0.4};
  s.planner.handle_terminations = true;
  s.planner.termination_cost = 0.7;
  s.outputs = {true, reward == nullptr};
  s.reward = reward;
}

inline ReplayBatch random_batch(Random& random, const LearnerSetup& s, int rows) {
  ReplayBatch b;
  b.size = rows;
  for (int j = 0; j < rows; ++j) {
    for (int i = 0; i < s.nx; ++i) {
      b.x.push_back(random.normal());
      b.next.push_back(b.x.back() + random.normal(0.3));
    }
    for (int i = 0; i < s.nu; ++i)
      b.a.push_back(static_cast<float>(random.real(s.action_low[i], s.action_high[i])));
    b.reward.push_back(random.normal());
    b.terminated.push_back(static_cast<float>(random.whole(0, 1)));
  }
  return b;
}

inline std::vector<float> random_values(Random& random, int count) {
  std::vector<float> values(count);
  for (float& v : values) v = random.normal();
  return values;
}

/// Normalisation that is not the identity; the critics' last state component is masked.
inline void set_normalisation(NetNormalisation& m, NetNormalisation& c, const LearnerSetup& s) {
  for (int i = 0; i < s.nx + s.nu; ++i) {
    m.input_mean[i] = c.input_mean[i] = 0.1f * static_cast<float>(i) - 0.3f;
    m.input_std[i] = c.input_std[i] = 0.7f + 0.1f * static_cast<float>(i);
  }
  c.input_std[s.nx - 1] = std::numeric_limits<float>::infinity();
  for (int i = 0; i < s.nx + s.outputs.reward; ++i) {
    m.output_mean[i] = 0.05f * static_cast<float>(i);
    m.output_std[i] = 0.4f + 0.1f * static_cast<float>(i);
  }
}

inline void set_normalisation(Learner& learner, const LearnerSetup& s) {
  set_normalisation(learner.member_normalisation(), learner.critic_normalisation(), s);
}

/// One update of everything.
struct UpdateResult {
  double member_loss, critic_loss, mean_value;
  std::vector<float> errors;
};
inline UpdateResult update(Learner& learner, ThreadPool& pool, const ReplayBatch& batch,
                           const std::vector<float>& y) {
  learner.start_members(batch, pool);
  const CriticStep step = learner.update_critics(batch, y);
  std::vector<float> errors(step.errors.begin(), step.errors.end());
  pool.finish();
  const double member_loss = learner.finish_members();
  learner.publish();
  return {member_loss, step.loss, step.mean_value, std::move(errors)};
}

/// mu(x) [N, nu] of a learner's policy.
inline std::vector<float> policy_actions(const Policy& policy, const LearnerSetup& s,
                                         const std::vector<float>& x, int n) {
  std::vector<float> columns(x.size()), actions(static_cast<std::size_t>(s.nu) * n),
      rows(actions.size());
  for (int j = 0; j < n; ++j)
    for (int i = 0; i < s.nx; ++i) columns[i * n + j] = x[j * s.nx + i];
  std::vector<float> scratch(policy.scratch_bytes(n) / sizeof(float));
  policy.evaluate({columns.data(), n}, n, {actions.data(), n}, scratch.data());
  for (int j = 0; j < n; ++j)
    for (int i = 0; i < s.nu; ++i) rows[j * s.nu + i] = actions[i * n + j];
  return rows;
}

/// Q(x, a) [N] of a learner's critic.
inline std::vector<float> critic_values(const TerminalValue& value, const LearnerSetup& s,
                                        const std::vector<float>& x, const std::vector<float>& a,
                                        int n) {
  std::vector<float> states(x.size()), actions(a.size()), q(n);
  for (int j = 0; j < n; ++j) {
    for (int i = 0; i < s.nx; ++i) states[i * n + j] = x[j * s.nx + i];
    for (int i = 0; i < s.nu; ++i) actions[i * n + j] = a[j * s.nu + i];
  }
  std::vector<float> scratch(value.scratch_bytes(n) / sizeof(float));
  value.evaluate({states.data(), n}, {actions.data(), n}, n, q.data(), scratch.data());
  return q;
}

}  // namespace softmpc::testing
