// SPDX-License-Identifier: Apache-2.0
// Action prior, cost and soft value of MPPI (DESIGN section 1; arXiv 2604.01477).
#pragma once

#include "softmpc/hd/macros.h"
#include "softmpc/hd/math.h"

namespace softmpc::hd {

// a_i = clip(v_i, lo_i, hi_i)
SOFTMPC_HD float clip(float v, float low, float high) {
  return v < low ? low : (v > high ? high : v);
}

// mu = mid + half-range y of a policy's y in [-1, 1]; for finite bounds
SOFTMPC_HD float from_unit(float y, float low, float high) {
  const float mid = 0.5f * (high + low), half = 0.5f * (high - low);
  return mid + half * y;
}

// dmu/dz = half-range (1 - y^2) where y = tanh(z)
SOFTMPC_HD float from_unit_slope(float y, float low, float high) {
  return 0.5f * (high - low) * (1.0f - y * y);
}

// Gaussian prior, component i of step t: gamma^t u_i eps_i / sigma_i^2
SOFTMPC_HD float gaussian_term(float discount, float u, float eps, float inverse_variance) {
  return discount * (u * eps * inverse_variance);
}

// Uniform prior, component i of step t: gamma^t eps_i^2 / sigma_i^2
SOFTMPC_HD float uniform_term(float discount, float eps, float inverse_variance) {
  return discount * (eps * eps * inverse_variance);
}

/// One entry of a_t of one rollout, and what it adds to the prior sum of S.
struct Acted {
  float action, prior_term;
  bool inside;  // the entry of v_t lies in the box
};

// v = base + (u + eps), a = clip(v, lo, hi); `base` is the neutral action n or a policy's mu(x),
// and `cost_u` the u of S. A fixed action (lo = hi) has inverse_variance 0 and is always inside.
SOFTMPC_HD Acted act(bool uniform, float base, float u, float cost_u, float eps, float low,
                     float high, float discount, float inverse_variance) {
  const float v = base + (u + eps);
  return {clip(v, low, high),
          uniform ? uniform_term(discount, eps, inverse_variance)
                  : gaussian_term(discount, cost_u, eps, inverse_variance),
          (((v >= low) & (v <= high)) | (low == high)) != 0};
}

// J <- J - gamma^t r_t; at the end r is Q(x_H, a_H)
SOFTMPC_HD float subtract_reward(float j, float discount, float r) { return j - discount * r; }

// r_t - c where step t ends the episode
SOFTMPC_HD float charged_reward(float r, bool ends, float cost) { return ends ? r - cost : r; }

// S = J + lambda sum_t gamma^t u_t' Sigma^-1 eps_t
SOFTMPC_HD float gaussian_cost(float j, float lambda, float sum) { return fma(lambda, sum, j); }

// S = J - lambda/2 sum_t gamma^t eps_t' Sigma^-1 eps_t
SOFTMPC_HD float uniform_cost(float j, float lambda, float sum) {
  return fma(-0.5f * lambda, sum, j);
}

// S of a rollout from J and its prior sum
SOFTMPC_HD float rollout_cost(bool uniform, float j, float lambda, float sum) {
  return uniform ? uniform_cost(j, lambda, sum) : gaussian_cost(j, lambda, sum);
}

// S of an action sequence: 1/P sum_p S_p over its particles, side by side
SOFTMPC_HD float particle_mean(const float* cost, int particles) {
  float sum = 0;
  for (int p = 0; p < particles; ++p) sum += cost[p];
  return sum / static_cast<float>(particles);
}

// d/dv of the price lambda/2 gamma^t v_i^2 / sigma_i^2 that V pays for departing from the prior
SOFTMPC_HD float price_slope(float lambda, float discount, float v, float inverse_variance) {
  return lambda * (discount * (v * inverse_variance));
}

/// A solve in two parts of K/2 rollouts each, about plans of their own, as one solve of K.
struct Merged {
  double value;              // V
  double weight[2];          // of the parts' refined plans; both 0 where neither part is finite
  double effective_samples;  // (sum w)^2 / sum w^2
};

// V = lambda log(1/2 sum_m exp(V_m / lambda)), p_m = exp((V_m - V) / lambda) / 2,
// effective samples 1 / sum_m (p_m^2 / n_m). A part whose value is not finite does not count, nor
// one without a valid rollout beside one that has some.
SOFTMPC_HD Merged merge_solves(const double (&value)[2], const double (&samples)[2],
                               const bool (&all_invalid)[2], double lambda) {
  Merged m = {value[0], {0, 0}, 0};
  // inf - inf and nan - nan are nan
  bool counts[2] = {value[0] - value[0] == 0, value[1] - value[1] == 0};
  if (counts[0] && counts[1] && all_invalid[0] != all_invalid[1])
    for (int i = 0; i < 2; ++i) counts[i] = !all_invalid[i];
  if (!counts[0] && !counts[1]) return m;
  const double top = !counts[1] || (counts[0] && value[0] > value[1]) ? value[0] : value[1];
  double sum = 0, squares = 0;
  for (int i = 0; i < 2; ++i) sum += m.weight[i] = counts[i] ? ::exp((value[i] - top) / lambda) : 0;
  for (int i = 0; i < 2; ++i) {
    m.weight[i] /= sum;
    if (m.weight[i] > 0) squares += m.weight[i] * m.weight[i] / samples[i];
  }
  m.value = top + lambda * ::log(sum / 2);
  m.effective_samples = 1 / squares;
  return m;
}

// u = p_0 u_0 + p_1 u_1; a part without weight may hold anything, NaN too
SOFTMPC_HD float merged_plan(const Merged& m, float u0, float u1) {
  double u = 0;
  if (m.weight[0] > 0) u += m.weight[0] * static_cast<double>(u0);
  if (m.weight[1] > 0) u += m.weight[1] * static_cast<double>(u1);
  return static_cast<float>(u);
}

// w_k ~ exp(-(S_k - min S) / lambda)
SOFTMPC_HD float weight(float cost, float min_cost, float inverse_lambda) {
  return exp((min_cost - cost) * inverse_lambda);
}

// V = -min S + lambda log(sum_k w_k / K) - c, where c is
//   Gaussian: lambda/2 sum_t gamma^t u_t' Sigma^-1 u_t
//   uniform:  lambda sum_t gamma^t (log vol(box) - 1/2 (nu log 2 pi + log det Sigma))
SOFTMPC_HD double soft_value(double min_cost, double weight_sum, int rollouts, double lambda,
                             double c) {
  return -min_cost + lambda * ::log(weight_sum / rollouts) - c;
}

}  // namespace softmpc::hd
