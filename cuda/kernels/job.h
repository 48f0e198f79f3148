// SPDX-License-Identifier: Apache-2.0
// What a launch reads and writes: plain structs of device pointers, the same for every solve of a
// planner, so that a launch can be recorded once and replayed. Layouts as in softmpc/types.h.
#pragma once

#include <cstdint>

#include "parameter_table.h"
#include "softmpc/hd/macros.h"

namespace softmpc::cuda {

/// One stack of networks on the device, packed by kernels/pack.cuh.
struct DeviceNet {
  const std::uint32_t* weights = nullptr;  ///< [stack, words], layout.h
  const float* bias = nullptr;             ///< [stack, biases], layout.h: LayerNorm's too
  const float* input_mean = nullptr;       ///< [in]
  const float* input_scale = nullptr;      ///< [in], 1 / std, 0 for a masked input
  const float* output_mean = nullptr;      ///< [out]
  const float* output_std = nullptr;       ///< [out]
};

/// The same stack as it is trained: float32 parameters as the table says.
struct FlatNet {
  const float* parameters;  ///< [stack, table.size]
  ParameterTable table;
  int in, width, hidden, out;  ///< `out` are evaluated, of a net that may have more
  int normalises;              ///< 1: hidden layers have LayerNorm
  const float *input_mean, *input_scale, *output_mean, *output_std;  ///< as of DeviceNet

  SOFTMPC_HD constexpr int inputs(int l) const { return l == 0 ? in : width; }
  SOFTMPC_HD constexpr int outputs(int l) const { return l == hidden ? out : width; }
};

/// What changes from solve to solve; uploaded with the problems.
struct SolveHeader {
  std::uint64_t seed;
  std::uint32_t solve;
  std::uint32_t reserved;
};

// PlanStatus as a number
inline constexpr std::uint32_t kOk = 0, kAllInvalid = 1, kNotFinite = 2, kBadState = 3;

/// Results of one problem; as in PlanBatch.
struct ProblemResult {
  double value;
  double effective_samples;
  double valid_share;
  std::uint32_t status;  ///< PlanStatus
  std::uint32_t reserved;
};

/// One iteration of a batch of solves: rollouts, then the update of the plans.
struct RolloutJob {
  // inputs
  const SolveHeader* header;
  const float* observation;         ///< [B, nx]
  const std::uint32_t* problem_id;  ///< [B]
  const float* plan;                ///< [B, H+1, nu] u
  const float* cost_plan;           ///< [B, H+1, nu] the u of S and of the quadratic term
  const float* fixed_noise;         ///< [B, K, H+1, nu] if Sizes::fixed_noise
  const int* fixed_member;          ///< [H] if given
  int problems;                     ///< B
  int iteration;
  // constants of the planner
  const float* sigma;             ///< [nu] standard deviation
  const float* inverse_variance;  ///< [nu]
  const float *factor, *inverse;  ///< [nu, nu] of hd::Covariance if Sizes::correlated
  const float* neutral;           ///< [nu] n
  const float* low;               ///< [nu]
  const float* high;              ///< [nu]
  const float* discount;          ///< [H+1] gamma^t
  float end_cost;                 ///< c of a step that ends the episode
  float temperature;              ///< lambda
  float inverse_temperature;
  double uniform_constant;  ///< c of hd::soft_value under the uniform prior
  DeviceNet dynamics, critic, policy;
  int critic_index;                                     ///< which critic of the stack
  const float* rule_parameters;                         ///< of the reward rules
  const float *dynamics_parameters, *value_parameters;  ///< of analytic models
  int ring_stages;                                      ///< of rollout_wgmma
  // of update_plans where a problem has several segments (update_shape.h)
  double* segments;        ///< [B, update_numbers()]
  std::uint32_t* tickets;  ///< [B], zeros between launches
  // outputs
  float* cost;            ///< [B, K] S before masking
  std::uint8_t* valid;    ///< [B, K] every v_t was inside the box
  float* mu;              ///< [B, nu] mu(x_0) if Sizes::policy_residual
  float* refined;         ///< [B, H+1, nu] u after the update; never the array of `plan`
  float* action;          ///< [B, nu] clip(n + u_0), clip(mu(x_0) + u_0)
  ProblemResult* result;  ///< [B]
};

/// Of residual_plans.
struct ResidualJob {
  const float* plan;  ///< [B, H+1, nu]
  float* residual;    ///< [B, H+1, nu]
  int problems;
};

/// Of average_particles.
struct ParticleJob {
  float* cost;          ///< [B, K]
  std::uint8_t* valid;  ///< [B, K]
  int problems;
};

/// Of charged_plans.
struct ChargeJob {
  const float* plan;     ///< [B, H+1, nu]
  const float* inverse;  ///< [nu, nu] Sigma^-1
  float* charged;        ///< [B, H+1, nu]; never the array of `plan`
  int problems;
};

/// Of pack_weights: `count` networks from float32 parameters.
struct PackJob {
  const float* parameters;  ///< [stack, table.size]
  std::uint32_t* words;     ///< DeviceNet::weights
  float* bias;              ///< DeviceNet::bias
  ParameterTable table;
  int stack;
  int in, hidden, layers, out;  ///< true sizes; `out` of the parameters
  int width, planned;           ///< padded width, outputs to keep
  int norm_units;               ///< of NetShape
  int operands;                 ///< Operands
  int order;                    ///< WeightOrder
};

}  // namespace softmpc::cuda
