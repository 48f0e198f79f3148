// SPDX-License-Identifier: Apache-2.0
// What the kernels of a policy mu read and write: plans that it proposes, solves in two parts, and
// the way of dL/dz through a rollout. Blocks of numbers are columns [components, (H+1) R], step t's
// rows behind those of the steps before; R as in train_job.h.
#pragma once

#include <cstdint>

#include "job.h"
#include "train_job.h"

namespace softmpc::cuda {

/// mu(x) = mid + half-range tanh(net(x)) in open loop, through one member a step.
struct PolicyRollout {
  FlatNet policy, members;
  int stack;  ///< members that are drawn from
  int nx, nu, horizon;
  int rows, stride;                             ///< N, and (H+1) R
  const float *low, *high, *neutral;            ///< [nu]
  const float* start;                           ///< [N, nx] x_0
  float *state, *unit;                          ///< [nx], [nu]: x_t, tanh of mu's outputs
  float* alive;                                 ///< [1]: 1, or 0 in padding and behind an end
  float *policy_input, *policy_z;               ///< [nx], [hidden, width]
  float *model_input, *model_z, *model_output;  ///< of step t's member, of the critic where t = H
  float* model_rate;                            ///< [hidden] of LayerNorm there; null without

  SOFTMPC_HD constexpr int chunks() const { return stride / kTrainRows / (horizon + 1); }
};

/// Start plans of a solve in two parts: the given ones, then those that mu makes.
struct ProposalJob {
  PolicyRollout rollout;
  const SolveHeader* header;
  const float* given;         ///< [B, H+1, nu]
  float *observation, *plan;  ///< [2B, nx], [2B, H+1, nu]
};

/// The first steps of the rollouts as rows of the critics' batch: PolicyRollout::imagine() of
/// models/learn/policy_rollout.h.
struct ImaginedSteps {
  int steps;       ///< 0: none
  FlatNet target;  ///< a stack of `critics`
  int critics;
  double gamma;
  float end_cost;  ///< c of a step that ends its rollout
  float* input;    ///< [nx + nu] columns of the critics' batch, from the first imagined one on
  int stride;      ///< of them
  float* value;    ///< [1]: y of the step under way
  float* goal;     ///< [1]
};

/// L = -1/N sum over the batch of
///   sum_{t<H} gamma^t alive_t r_t + gamma^H alive_H Q(x_H, mu(x_H))
///   - lambda/2 sum_{t<=H} gamma^t alive_t v_t' Sigma^-1 v_t,   v_t = mu(x_t) - n,
/// r_t the reward that the members learn.
struct PolicyGradientJob {
  PolicyRollout rollout;
  const TrainCounters* counters;
  FlatNet critic;
  ImaginedSteps imagined;
  int learned_reward, learned_termination;  ///< outputs behind the state's
  int handle_terminations;
  const float* rule_parameters;
  const float* discount;          ///< [H+1] gamma^t
  float temperature;              ///< lambda; 0: no price
  const float* inverse_variance;  ///< [nu]
  const float* inverse;           ///< [nu, nu] Sigma^-1 of a full Sigma, else null
  float *dx, *da;                 ///< [nx], [nu]: dL/dx_t, dL/da_t of the step under way
  float *dz[2], *model_slope;     ///< [widest], [nx + nu]: dL/dz of a layer, dL/d(net's input)
  float* slope;                   ///< [nu] dL/dz of mu's outputs, out
};

/// Two parts of a solve become one: hd::merge_solves.
struct MergeJob {
  int problems, nu, plan;  ///< B, and floats of a plan
  double temperature;
  const float *low, *high, *neutral;  ///< [nu]
  const float* given;                 ///< [B, plan], where neither part is finite
  const float* parts;                 ///< [2B, plan] refined
  const ProblemResult* part_results;  ///< [2B]
  float *refined, *action;            ///< [B, plan], [B, nu]
  ProblemResult* result;              ///< [B]
};

}  // namespace softmpc::cuda
