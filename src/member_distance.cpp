// SPDX-License-Identifier: Apache-2.0
#include "member_distance.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "cpu/aligned.h"

namespace softmpc {
namespace {

constexpr int kLanes = 64;  // first actions that are tried, a block

double square(double x) { return x * x; }

/// [E, nx, kLanes] of member steps x' - x from the observation, by the rollouts' first actions.
std::vector<float> first_steps(const DynamicsModel& dynamics, const ProblemShape& shape,
                               std::span<const float> observation,
                               std::span<const ExplainedRollout* const> rollouts) {
  const auto nx = static_cast<std::size_t>(shape.nx), nu = static_cast<std::size_t>(shape.nu);
  cpu::AlignedFloats x(nx * kLanes), a(nu * kLanes), next(nx * kLanes), reward(kLanes);
  std::vector<std::uint8_t> terminated(kLanes);
  cpu::AlignedBytes scratch(dynamics.scratch_bytes(kLanes));
  for (std::size_t j = 0; j < rollouts.size(); ++j) {
    for (std::size_t i = 0; i < nx; ++i) x[i * kLanes + j] = observation[i];
    for (std::size_t i = 0; i < nu; ++i) a[i * kLanes + j] = rollouts[j]->action[i];
  }
  std::vector<float> result;
  for (int m = 0; m < dynamics.members(); ++m) {
    dynamics.step(m, {x.data(), kLanes}, {a.data(), kLanes}, static_cast<int>(rollouts.size()),
                  {{next.data(), kLanes},
                   dynamics.predicts_reward() ? reward.data() : nullptr,
                   dynamics.predicts_termination() ? terminated.data() : nullptr},
                  scratch.data());
    for (std::size_t i = 0; i < next.size(); ++i) result.push_back(next[i] - x[i]);
  }
  return result;
}

/// Over the members; mean of both middle ones where their number is even.
float median(std::vector<float>& values) {
  std::ranges::sort(values);
  const std::size_t n = values.size();
  return 0.5F * (values[(n - 1) / 2] + values[n / 2]);
}

}  // namespace

MemberDistance member_distance(const DynamicsModel& dynamics, const ProblemShape& shape,
                               const Explanation& e, const DiagnosisInput& input) {
  MemberDistance result;
  const int members = dynamics.members();
  std::vector<const ExplainedRollout*> rollouts;
  for (const ExplainedRollout& r : e.rollouts)
    if (r.fate != RolloutFate::not_started && rollouts.size() < kLanes) rollouts.push_back(&r);
  const int lanes = static_cast<int>(rollouts.size());
  if (members < 2 || lanes == 0) return result;
  const std::vector<float> steps = first_steps(dynamics, shape, input.observation, rollouts);
  const std::size_t block = steps.size() / members;
  std::vector<double> off(members);  // squared, summed over components and lanes
  double length = 0;
  for (int i = 0; i < shape.nx; ++i) {
    std::vector<double> component(members);
    double step = 0;
    for (int j = 0; j < lanes; ++j) {
      std::vector<float> at(members);
      for (int m = 0; m < members; ++m) at[m] = steps[m * block + i * kLanes + j];
      std::vector<float> sorted(at);
      const double middle = median(sorted);
      step += square(middle);
      for (int m = 0; m < members; ++m) component[m] += square(at[m] - middle);
    }
    double unit = input.state_low.empty()
                      ? 0.0
                      : square(static_cast<double>(input.state_high[i]) - input.state_low[i]);
    if (!std::isfinite(unit) || unit == 0) unit = step;
    if (unit == 0) continue;
    length += step / unit;
    for (int m = 0; m < members; ++m) off[m] += component[m] / unit;
  }
  if (!(length > 0)) return result;
  std::vector<double> sorted(off);
  std::ranges::sort(sorted);
  result.farthest = static_cast<int>(std::ranges::max_element(off) - off.begin());
  result.distance = std::sqrt(sorted.back() / length);
  result.ratio = std::sqrt(sorted.back() / std::max(sorted[members - 2], 1e-300));
  return result;
}

}  // namespace softmpc
