// SPDX-License-Identifier: Apache-2.0
// Random planning problems of all settings, for tests against the oracle.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "planner_oracle.h"
#include "random_models.h"

namespace softmpc::testing {

/// Hidden layers have between `narrowest` and `widest` units.
inline oracle::Problem random_problem(Random& random, int narrowest = 3, int widest = 40) {
  oracle::Problem p;
  PlannerConfig& c = p.config;
  const int nx = random.whole(1, 9), nu = random.whole(1, 7);
  c.rollouts = 2 * random.whole(0, 60) + 1;
  c.horizon = random.whole(1, 7);
  c.iterations = random.whole(1, 3);
  c.temperature = random.real(0.3, 1.5);
  c.gamma = random.real(0.8, 1);
  c.prior = random.coin() ? Prior::gaussian : Prior::uniform;
  c.control_mode = static_cast<ControlMode>(random.whole(0, 2));
  c.member_draw = static_cast<MemberDraw>(random.whole(0, 2));
  const int members = random.whole(1, 5);
  if (c.member_draw != MemberDraw::per_step && random.coin()) {
    c.particles = random.whole(1, members);
    c.rollouts *= c.particles;
  }
  c.handle_terminations = random.coin();
  c.variance.assign(random.coin() ? 1u : static_cast<std::size_t>(nu), 0);
  for (double& v : c.variance) v = random.real(0.02, 0.3);
  p.shape = {nx, nu, {}, {}, random.whole(1, 5)};
  const bool endless = c.prior == Prior::gaussian && c.control_mode != ControlMode::policy_residual;
  const bool neutral_given = random.whole(0, 3) == 0;
  for (int i = 0; i < nu; ++i) {
    const Box box = random_box(random, endless);
    p.shape.action_low.push_back(box.low);
    p.shape.action_high.push_back(box.high);
    if (neutral_given) c.neutral.push_back(static_cast<float>(random_neutral(random, box)));
  }
  p.outputs = {random.coin(), random.coin()};
  const int width = random.whole(narrowest, widest);
  const int out = nx + p.outputs.reward + p.outputs.termination + random.whole(0, 2);
  p.members = random_weights(random, members, NetSpec::mlp({nx + nu, width, width, out}), 0.8,
                             random.coin());
  p.critic = random_weights(random, 1, NetSpec::mlp({nx + nu, width, 1}), 1.5, random.coin());
  p.policy = random_weights(random, 1, NetSpec::mlp({nx, width, nu}), 1, random.coin());
  if (nx > 1 && random.coin())
    p.members.normalisation.input_std[1] = std::numeric_limits<float>::infinity();
  p.reward = [nx, nu](const auto& x, const auto& a, const auto& next) {
    return TestRule::formula<double>(nx, nu, x, a, next);
  };
  p.distance_to_end = [](const auto& next) { return TestRule::kEnd - next[0]; };
  if (random.whole(0, 2) == 0) c.covariance = random_covariance(random, p.shape);
  if (random.coin()) c.termination_cost = random.real(0, 3);
  return p;
}

/// The same with proposals plan_and_policy.
inline oracle::Problem random_proposals(Random& random) {
  oracle::Problem p = random_problem(random);
  p.config.proposals = Proposals::plan_and_policy;
  p.config.rollouts *= 2;
  if (p.config.control_mode == ControlMode::policy_residual)
    p.config.control_mode = random.coin() ? ControlMode::plain : ControlMode::mean_residual;
  for (int i = 0; i < p.shape.nu; ++i) {
    float &low = p.shape.action_low[i], &high = p.shape.action_high[i];
    if (std::isinf(low)) low = std::min(-3.0f, high - 3);
    if (std::isinf(high)) high = std::max(3.0f, low + 3);
  }
  return p;
}

/// Gives hidden layers of the critic or of all nets LayerNorm; their weights are new ones.
inline void add_layer_norm(Random& random, oracle::Problem& p) {
  const auto redraw = [&](NetWeights& w, double gain) {
    NetSpec spec = w.spec;
    for (int l = 0; l + 1 < spec.depth(); ++l) spec.layers[l].normalise = true;
    NetNormalisation kept = w.normalisation;
    w = random_weights(random, w.stack, spec, gain);
    w.normalisation = std::move(kept);
  };
  redraw(p.critic, 1.5);
  if (random.coin()) return;
  redraw(p.members, 0.8);
  redraw(*p.policy, 1);
}

}  // namespace softmpc::testing
