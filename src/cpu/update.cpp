// SPDX-License-Identifier: Apache-2.0
#include "cpu/update.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "softmpc/hd/prior.h"
#include "softmpc/multiversion.h"

namespace softmpc::cpu {
namespace {

typedef double Sum8 __attribute__((vector_size(64)));
typedef float Floats8 __attribute__((vector_size(32), aligned(4)));
constexpr int kComponents = 32;  // summed at a time, so that the noise is read in order

/// sum_k w_k eps_k for components [begin, end) at most kComponents; each in rollout order in eight
/// interleaved partial sums, so that the bits depend on k alone.
SOFTMPC_MULTIVERSION
void weighted_noise(const UpdateInput& in, const float* weight, int begin, int end, Sum8* sums) {
  const std::ptrdiff_t plan_size = static_cast<std::ptrdiff_t>(in.horizon + 1) * in.nu;
  int index = in.tiling->find(in.first_lane);
  for (int k = 0; k < in.rollouts; ++index) {
    const int first = in.tiling->begin(index), offset = in.first_lane + k - first;
    const std::ptrdiff_t lanes = in.tiling->width(index);
    const int run = std::min(in.rollouts - k, static_cast<int>(lanes) - offset);
    const float* tile = in.noise + first * plan_size + offset;
    const float* w = weight + k;
    for (int c = begin; c < end; ++c) {
      const float* eps = tile + c * lanes;
      Sum8 sum = sums[c - begin];
      int j = 0;
      for (; j < run && ((k + j) & 7) != 0; ++j)
        sum[(k + j) & 7] += static_cast<double>(w[j]) * static_cast<double>(eps[j]);
      for (; j + 8 <= run; j += 8)
        sum += __builtin_convertvector(*reinterpret_cast<const Floats8*>(w + j), Sum8) *
               __builtin_convertvector(*reinterpret_cast<const Floats8*>(eps + j), Sum8);
      for (; j < run; ++j)
        sum[(k + j) & 7] += static_cast<double>(w[j]) * static_cast<double>(eps[j]);
      sums[c - begin] = sum;
    }
    k += run;
  }
}

double total(const Sum8& s) {
  return ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
}

/// w_k of the rollouts with a finite cost, 0 of the others.
SOFTMPC_MULTIVERSION
void weigh_finite(const float* __restrict cost, int rollouts, float min_cost,
                  float inverse_temperature, float* __restrict weight) {
  constexpr float kLargest = std::numeric_limits<float>::max();
  for (int k = 0; k < rollouts; ++k) {
    const float w = hd::weight(cost[k], min_cost, inverse_temperature);
    const bool finite = (cost[k] >= -kLargest) & (cost[k] <= kLargest);
    weight[k] = finite ? w : 0.0f;
  }
}

}  // namespace

void average_particles(int particles, std::span<float> cost, std::span<std::uint8_t> valid) {
  const std::size_t p = particles;
  for (std::size_t first = 0; first < cost.size(); first += p) {
    const float mean = hd::particle_mean(&cost[first], particles);
    const bool all = std::ranges::all_of(valid.subspan(first, p), std::identity{});
    std::ranges::fill(cost.subspan(first, p), mean);
    std::ranges::fill(valid.subspan(first, p), static_cast<std::uint8_t>(all));
  }
}

Weighed weigh(const UpdateInput& in, std::span<float> weight) {
  int in_box = 0, finite = 0;
  for (int k = 0; k < in.rollouts; ++k) {
    const bool ok = std::isfinite(in.cost[k]);
    finite += ok;
    in_box += ok && (!in.uniform || in.valid[k]);
  }
  Weighed result{};
  result.valid_share = static_cast<double>(in_box) / in.rollouts;
  result.status = in_box > 0 ? PlanStatus::ok : PlanStatus::all_invalid;
  result.value = std::numeric_limits<double>::quiet_NaN();
  if (finite == 0) {
    result.status = PlanStatus::not_finite;
    return result;
  }
  const auto counts = [&](int k) {
    return std::isfinite(in.cost[k]) && (in_box == 0 || !in.uniform || in.valid[k]);
  };
  float min_cost = std::numeric_limits<float>::infinity();
  for (int k = 0; k < in.rollouts; ++k)
    if (counts(k)) min_cost = std::min(min_cost, in.cost[k]);
  const float inverse = static_cast<float>(1.0 / in.temperature);
  weigh_finite(in.cost.data(), in.rollouts, min_cost, inverse, weight.data());
  double sum = 0, sum_of_squares = 0;
  for (int k = 0; k < in.rollouts; ++k) {
    if (!counts(k)) weight[k] = 0;
    sum += weight[k];
    sum_of_squares += static_cast<double>(weight[k]) * weight[k];
  }
  result.weight_sum = sum;
  result.value = hd::soft_value(min_cost, sum, in.rollouts, in.temperature, in.value_constant);
  result.effective_samples = sum * sum / sum_of_squares / in.particles;
  return result;
}

Weighed update_plan(const UpdateInput& in, std::span<float> weight, std::span<float> plan) {
  const Weighed result = weigh(in, weight);
  if (result.status == PlanStatus::not_finite) return result;
  const int components = (in.horizon + 1) * in.nu;
  for (int begin = 0; begin < components; begin += kComponents) {
    const int end = std::min(components, begin + kComponents);
    Sum8 sums[kComponents] = {};
    weighted_noise(in, weight.data(), begin, end, sums);
    for (int c = begin; c < end; ++c)
      plan[c] += static_cast<float>(total(sums[c - begin]) / result.weight_sum);
  }
  return result;
}

}  // namespace softmpc::cpu
