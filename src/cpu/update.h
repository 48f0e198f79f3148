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

struct UpdateResult {
  double value, effective_samples, valid_share;
  PlanStatus status;
};

/// Gives the particles of each action sequence the mean of their costs, and calls none valid where
/// one is not.
void average_particles(int particles, std::span<float> cost, std::span<std::uint8_t> valid);

/// u <- u + sum_k w_k eps_k. `weight` [K] is scratch. Rollouts without a finite cost get weight 0.
UpdateResult update_plan(const UpdateInput& in, std::span<float> weight, std::span<float> plan);

}  // namespace softmpc::cpu
