// SPDX-License-Identifier: Apache-2.0
#include "learn/policy_rollout.h"

#include <algorithm>
#include <limits>

#include "softmpc/hd/covariance.h"
#include "softmpc/hd/losses.h"
#include "softmpc/hd/math.h"
#include "softmpc/hd/philox.h"
#include "softmpc/hd/prior.h"

namespace softmpc {
namespace {

/// Components `first` on of a net's input: (x - mean) / std.
void standardise(const TrainBlock& from, const NetNormalisation& n, int first, TrainBlock& to) {
  for (int i = 0; i < from.rows; ++i)
    for (int j = 0; j < from.count; ++j)
      to.row(first + i)[j] = (from.row(i)[j] - n.input_mean[first + i]) / n.input_std[first + i];
}

/// to += the gradient of what components `first` on of a net's input were standardised from.
void add_input_gradient(const float* gradient, const NetNormalisation& n, int first,
                        TrainBlock& to) {
  for (int i = 0; i < to.rows; ++i) {
    const float* from = gradient + static_cast<std::ptrdiff_t>(first + i) * to.lanes;
    for (int j = 0; j < to.count; ++j) to.row(i)[j] += from[j] / n.input_std[first + i];
  }
}

/// Step t's lanes to their place among those of all steps.
void place(const TrainBlock& from, int t, TrainBlock& to) {
  for (int i = 0; i < from.rows; ++i)
    std::copy_n(from.row(i), from.lanes, to.row(i) + static_cast<std::ptrdiff_t>(t) * from.lanes);
}

}  // namespace

PolicyRollout::PolicyRollout(const LearnerSetup& setup)
    : setup_(setup),
      constants_(setup.planner, {setup.nx, setup.nu, setup.action_low, setup.action_high, 1}),
      steps_(setup.planner.horizon + 1) {}

void PolicyRollout::start(const ReplayBatch& batch, std::uint32_t update, int members) {
  const int n = batch.size, nx = setup_.nx;
  Step& s = steps_.front();
  s.x.resize(nx, n);
  for (int i = 0; i < nx; ++i)
    for (int j = 0; j < n; ++j) s.x.row(i)[j] = batch.x[static_cast<std::size_t>(j) * nx + i];
  s.alive.assign(n, 1.0f);
  for (int t = 0; t < setup_.planner.horizon; ++t)
    steps_[t].member = hd::draw_policy_member(setup_.seed, update, t, members);
  const int all = s.x.lanes * static_cast<int>(steps_.size());
  input_.resize(nx, all);
  gradient_.resize(setup_.nu, all);
}

// a_t = mu(x_t)
void PolicyRollout::act(int t, const FusedMlp& policy, const NetNormalisation& normalisation) {
  Step& s = steps_[t];
  const int n = s.x.count;
  s.policy_input.resize(setup_.nx, n);
  standardise(s.x, normalisation, 0, s.policy_input);
  place(s.policy_input, t, input_);
  const float* z = policy.forward(0, s.policy_input, s.policy);
  s.unit.resize(setup_.nu, n);
  s.action.resize(setup_.nu, n);
  for (int i = 0; i < setup_.nu; ++i, z += s.x.lanes)
    for (int j = 0; j < n; ++j) {
      s.unit.row(i)[j] = hd::tanh(z[j]);
      s.action.row(i)[j] =
          hd::from_unit(s.unit.row(i)[j], setup_.action_low[i], setup_.action_high[i]);
    }
}

// x_{t+1} = x_t + f_m(x_t, a_t)
void PolicyRollout::advance(int t, const EnsembleLearner& members) {
  Step &s = steps_[t], &next = steps_[t + 1];
  const NetNormalisation& c = members.normalisation();
  const int n = s.x.count, nx = setup_.nx;
  s.model_input.resize(nx + setup_.nu, n);
  standardise(s.x, c, 0, s.model_input);
  standardise(s.action, c, nx, s.model_input);
  const float* y = members.mlp().forward(s.member, s.model_input, s.model);
  next.x.resize(nx, n);
  for (int i = 0; i < nx; ++i) {
    const float* change = y + static_cast<std::ptrdiff_t>(i) * s.x.lanes;
    for (int j = 0; j < n; ++j)
      next.x.row(i)[j] = s.x.row(i)[j] + c.output_mean[i] + c.output_std[i] * change[j];
  }
  s.reward.resize(n);
  const float* reward = y + static_cast<std::ptrdiff_t>(nx) * s.x.lanes;
  for (int j = 0; j < n; ++j) s.reward[j] = c.output_mean[nx] + c.output_std[nx] * reward[j];
  next.alive = s.alive;
  if (setup_.planner.handle_terminations) end_episodes(t, y);
}

/// As in the planner's rollouts: what follows a predicted termination does not count.
void PolicyRollout::end_episodes(int t, const float* model_output) {
  Step& next = steps_[t + 1];
  const int n = next.x.count, lanes = next.x.lanes;
  terminated_.assign(lanes, 0);
  if (setup_.outputs.termination) {
    const float* logit =
        model_output + static_cast<std::ptrdiff_t>(setup_.nx + setup_.outputs.reward) * lanes;
    for (int j = 0; j < n; ++j) terminated_[j] = logit[j] > 0;
  } else {
    setup_.reward->terminated({next.x.row(0), lanes}, n, terminated_.data());
  }
  for (int j = 0; j < n; ++j)
    if (terminated_[j]) next.alive[j] = 0;
}

/// The critics' inputs at the end of the rollout.
void PolicyRollout::ask_critics(const CriticLearner& critics) {
  const Step& s = steps_.back();
  critic_input_.resize(setup_.nx + setup_.nu, s.x.count);
  standardise(s.x, critics.normalisation(), 0, critic_input_);
  standardise(s.action, critics.normalisation(), setup_.nx, critic_input_);
}

const ImaginedRows& PolicyRollout::imagine(const CriticLearner& critics, int steps) {
  const int n = steps_.front().x.count, nx = setup_.nx;
  ask_critics(critics);
  const auto end_cost = static_cast<float>(setup_.planner.termination_cost);
  std::vector<float> y(n, std::numeric_limits<float>::infinity()), v(setup_.nu);
  for (int c = 0; c < critics.target_mlp().stack(); ++c) {
    const float* q = critics.target_mlp().forward(c, critic_input_, critic_);
    for (int j = 0; j < n; ++j) y[j] = std::min(y[j], q[j]);
  }
  ImaginedRows& rows = imagined_;
  rows.input.resize(nx + setup_.nu, n * steps);
  rows.target.resize(static_cast<std::size_t>(n) * steps);
  rows.alive.resize(rows.target.size());
  for (int t = setup_.planner.horizon - 1; t >= 0; --t) {
    const Step &s = steps_[t], &next = steps_[t + 1];
    for (int j = 0; j < n; ++j)
      y[j] = hd::expanded_target(s.reward[j], setup_.planner.gamma, next.alive[j] > 0, y[j],
                                 price(t + 1, j, v), end_cost);
    if (t >= steps) continue;
    for (int j = 0; j < n; ++j) {
      const int at = t * n + j;
      const bool alive = s.alive[j] > 0;  // else zeros: what is behind an end may have overflowed
      rows.alive[at] = s.alive[j];
      rows.target[at] = alive ? y[j] : 0;
      for (int i = 0; i < nx; ++i) rows.input.row(i)[at] = alive ? s.x.row(i)[j] : 0;
      for (int i = 0; i < setup_.nu; ++i)
        rows.input.row(nx + i)[at] = alive ? s.action.row(i)[j] : 0;
    }
  }
  return rows;
}

// -1/N gamma^H alive_H dQ/d(x_H, a_H)
void PolicyRollout::back_through_critic(const CriticLearner& critics) {
  const Step& s = steps_.back();
  const NetNormalisation& c = critics.normalisation();
  const int n = s.x.count;
  ask_critics(critics);
  critics.mlp().forward(0, critic_input_, critic_);
  float* dq = critics.mlp().output_gradient(critic_input_, critic_);
  const float discount = constants_.discount.back();
  for (int j = 0; j < n; ++j) dq[j] = -discount * s.alive[j] / static_cast<float>(n);
  const float* gradient = critics.mlp().input_gradient(0, critic_input_, critic_);
  dx_.resize(setup_.nx, n);
  da_.resize(setup_.nu, n);
  add_input_gradient(gradient, c, 0, dx_);
  add_input_gradient(gradient, c, setup_.nx, da_);
}

/// From dL/dx_{t+1} and -1/N gamma^t alive_t dr_t to dL/dx_t and dL/da_t.
void PolicyRollout::back_through_model(int t, const EnsembleLearner& members) {
  Step& s = steps_[t];
  const NetNormalisation& c = members.normalisation();
  const int n = s.x.count, nx = setup_.nx, lanes = s.x.lanes;
  float* dy = members.mlp().output_gradient(s.model_input, s.model);
  for (int i = 0; i < nx; ++i, dy += lanes)
    for (int j = 0; j < n; ++j) dy[j] = c.output_std[i] * dx_.row(i)[j];
  for (int j = 0; j < n; ++j)
    dy[j] = -c.output_std[nx] * constants_.discount[t] * s.alive[j] / static_cast<float>(n);
  const float* gradient = members.mlp().input_gradient(s.member, s.model_input, s.model);
  add_input_gradient(gradient, c, 0, dx_);
  da_.resize(setup_.nu, n);
  add_input_gradient(gradient, c, nx, da_);
}

// v_t = a_t - n
void PolicyRollout::depart(int t, int row, std::vector<float>& v) const {
  for (int i = 0; i < setup_.nu; ++i) v[i] = steps_[t].action.row(i)[row] - constants_.neutral[i];
}

// d/dv_i (lambda/2 v' Sigma^-1 v) of the Gaussian prior
float PolicyRollout::price_slope(float discount, int i, const std::vector<float>& v) const {
  const bool full = constants_.covariance.full();
  return hd::price_slope(
      static_cast<float>(setup_.planner.temperature), discount,
      full ? hd::charged(constants_.covariance.view(setup_.nu), i, v.data()) : v[i],
      constants_.inverse_variance[i]);
}

// lambda/2 v' Sigma^-1 v: half of v times its slope
float PolicyRollout::price(int t, int row, std::vector<float>& v) const {
  if (setup_.planner.prior != Prior::gaussian) return 0;
  depart(t, row, v);
  float sum = 0;
  for (int i = 0; i < setup_.nu; ++i) sum += 0.5f * v[i] * price_slope(1, i, v);
  return sum;
}

// 1/N alive_t d/da (lambda/2 gamma^t v' Sigma^-1 v)
void PolicyRollout::add_price(int t) {
  if (setup_.planner.prior != Prior::gaussian) return;
  const Step& s = steps_[t];
  const int n = s.x.count;
  std::vector<float> v(setup_.nu);
  for (int j = 0; j < n; ++j) {
    depart(t, j, v);
    for (int i = 0; i < setup_.nu; ++i)
      da_.row(i)[j] +=
          s.alive[j] / static_cast<float>(n) * price_slope(constants_.discount[t], i, v);
  }
}

/// From dL/da_t to dL/dz_t, and by mu's own dependence on x_t to dL/dx_t.
void PolicyRollout::back_through_policy(int t, const FusedMlp& policy,
                                        const NetNormalisation& normalisation) {
  Step& s = steps_[t];
  const int n = s.x.count, lanes = s.x.lanes;
  float* dz = policy.output_gradient(s.policy_input, s.policy);
  for (int i = 0; i < setup_.nu; ++i)
    for (int j = 0; j < n; ++j) {
      const float d = da_.row(i)[j] * hd::from_unit_slope(s.unit.row(i)[j], setup_.action_low[i],
                                                          setup_.action_high[i]);
      dz[static_cast<std::ptrdiff_t>(i) * lanes + j] = d;
      gradient_.row(i)[static_cast<std::ptrdiff_t>(t) * lanes + j] = d;
    }
  if (t == 0) return;
  add_input_gradient(policy.input_gradient(0, s.policy_input, s.policy), normalisation, 0, dx_);
}

void PolicyRollout::forward(const ReplayBatch& batch, const EnsembleLearner& members,
                            const FusedMlp& policy, const NetNormalisation& normalisation,
                            std::uint32_t update) {
  const int horizon = setup_.planner.horizon;
  start(batch, update, members.members());
  for (int t = 0; t < horizon; ++t) {
    act(t, policy, normalisation);
    advance(t, members);
  }
  act(horizon, policy, normalisation);
}

void PolicyRollout::backward(const EnsembleLearner& members, const CriticLearner& critics,
                             const FusedMlp& policy, const NetNormalisation& normalisation) {
  const int horizon = setup_.planner.horizon;
  back_through_critic(critics);
  for (int t = horizon; t >= 0; --t) {
    if (t < horizon) back_through_model(t, members);
    add_price(t);
    back_through_policy(t, policy, normalisation);
  }
}

}  // namespace softmpc
