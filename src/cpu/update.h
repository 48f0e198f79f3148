// SPDX-License-Identifier: Apache-2.0
// From costs to weights, soft value and the refined plan of one problem.
#pragma once

#include <cstdint>
#include <span>

#include "cpu/tiling.h"
#include "softmpc/types.h"

namespace softmpc::cpu {

/// Costs of one problem's rollouts, and where their noise lies: rollout k of the problem is lane
/// first_lane + k of the flattened index, tile by tile.
struct UpdateInput {
  int rollouts, particles, horizon, nu;
  std::span<const float> cost;          // [K]
  std::span<const std::uint8_t> valid;  // [K] read under the uniform prior only
  bool uniform;
  double temperature;
  double value_constant;  // c of hd::soft_value
  const float* noise;     // tiles of [H+1, nu, width], one behind the other
  const Tiling* tiling;
  int first_lane;
};

struct Weighed {
  double value, effective_samples, valid_share;
  double weight_sum;  // 0 where no cost is finite
  PlanStatus status;
};

/// Gives the particles of each action sequence the mean of their costs, and calls none valid where
/// one is not.
void average_particles(int particles, std::span<float> cost, std::span<std::uint8_t> valid);

/// weight [K], of sum weight_sum: 0 for rollouts without a finite cost and, while others are, for
/// those not valid under the uniform prior. Reads no noise.
Weighed weigh(const UpdateInput& in, std::span<float> weight);

/// u <- u + sum_k w_k eps_k / sum_k w_k.
Weighed update_plan(const UpdateInput& in, std::span<float> weight, std::span<float> plan);

}  // namespace softmpc::cpu
