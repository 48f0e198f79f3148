// SPDX-License-Identifier: Apache-2.0
#include "cpu/update.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "softmpc/hd/prior.h"

namespace softmpc::cpu {
namespace {

/// sum_k w_k eps_k for one component; summed in rollout order in eight interleaved partial sums,
/// so that the bits depend on k alone.
double weighted_noise(const UpdateInput& in, std::span<const float> weight, int component) {
  double sum[8] = {};
  const std::int64_t tile_size = static_cast<std::int64_t>(in.horizon + 1) * in.nu * in.tile_lanes;
  for (int k = 0; k < in.rollouts;) {
    const std::int64_t lane = in.first_lane + k;
    const int offset = static_cast<int>(lane % in.tile_lanes);
    const float* eps = in.noise + lane / in.tile_lanes * tile_size +
                       static_cast<std::int64_t>(component) * in.tile_lanes + offset;
    const int run = std::min(in.rollouts - k, in.tile_lanes - offset);
    for (int j = 0; j < run; ++j) sum[(k + j) & 7] += static_cast<double>(weight[k + j]) * eps[j];
    k += run;
  }
  return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

}  // namespace

UpdateResult update_plan(const UpdateInput& in, std::span<float> weight, std::span<float> plan) {
  int in_box = 0, finite = 0;
  for (int k = 0; k < in.rollouts; ++k) {
    const bool ok = std::isfinite(in.cost[k]);
    finite += ok;
    in_box += ok && (!in.uniform || in.valid[k]);
  }
  UpdateResult result{};
  result.valid_share = static_cast<double>(in_box) / in.rollouts;
  result.status = in_box > 0 ? PlanStatus::ok : PlanStatus::all_invalid;
  if (finite == 0) {
    result.status = PlanStatus::not_finite;
    result.value = std::numeric_limits<double>::quiet_NaN();
    return result;
  }
  const auto counts = [&](int k) {
    return std::isfinite(in.cost[k]) && (in_box == 0 || !in.uniform || in.valid[k]);
  };
  float min_cost = std::numeric_limits<float>::infinity();
  for (int k = 0; k < in.rollouts; ++k)
    if (counts(k)) min_cost = std::min(min_cost, in.cost[k]);
  const float inverse = static_cast<float>(1.0 / in.temperature);
  double sum = 0, sum_of_squares = 0;
  for (int k = 0; k < in.rollouts; ++k) {
    weight[k] = counts(k) ? hd::weight(in.cost[k], min_cost, inverse) : 0.0f;
    sum += weight[k];
    sum_of_squares += static_cast<double>(weight[k]) * weight[k];
  }
  for (int c = 0; c < (in.horizon + 1) * in.nu; ++c)
    plan[c] += static_cast<float>(weighted_noise(in, weight, c) / sum);
  result.value = hd::soft_value(min_cost, sum, in.rollouts, in.temperature, in.value_constant);
  result.effective_samples = sum * sum / sum_of_squares;
  return result;
}

}  // namespace softmpc::cpu
