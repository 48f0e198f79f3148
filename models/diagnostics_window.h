// SPDX-License-Identifier: Apache-2.0
// Consecutive transitions as columns, with what really followed each of them.
#pragma once

#include <cstdint>
#include <vector>

#include "softmpc/types.h"

namespace softmpc {

/// Lanes are transitions, environment after environment: lane j + 1 follows lane j unless an
/// episode or the window ends with j.
struct DiagnosticsWindow {
  int lanes = 0, nx = 0, nu = 0;
  std::vector<float> x, a, next;         // [nx, lanes], [nu, lanes], [nx, lanes]
  std::vector<float> reward;             // [lanes]
  std::vector<double> plan_value;        // [lanes] V of the plan
  std::vector<std::uint8_t> terminated;  // [lanes]
  std::vector<std::uint8_t> last;        // [lanes] 1: of its episode, or of the window

  DiagnosticsWindow(int count, int states, int actions)
      : lanes(count),
        nx(states),
        nu(actions),
        x(static_cast<std::size_t>(nx) * lanes),
        a(static_cast<std::size_t>(nu) * lanes),
        next(x.size()),
        reward(lanes),
        plan_value(lanes),
        terminated(lanes),
        last(lanes) {}

  /// Transitions of the episode from each lane on, its own included [lanes].
  std::vector<int> lengths() const {
    std::vector<int> n(lanes, 1);
    for (int j = lanes - 2; j >= 0; --j)
      if (!last[j]) n[j] = n[j + 1] + 1;
    return n;
  }

  /// The discounted return that followed each lane, and whether it counts: the episode terminated,
  /// or so many steps followed that rewards not seen have at most `unseen` of all discounts,
  /// gamma^n <= unseen. A step that terminates has `end_cost` less than its reward.
  struct Returns {
    std::vector<double> value;         // [lanes]
    std::vector<std::uint8_t> counts;  // [lanes]
  };
  Returns returns(double gamma, double unseen, double end_cost) const {
    Returns r = {std::vector<double>(lanes), std::vector<std::uint8_t>(lanes)};
    double value = 0, share = 1;  // share of the discounts that is not seen
    for (int j = lanes - 1; j >= 0; --j) {
      if (last[j]) {
        value = 0;
        share = terminated[j] ? 0 : 1;
      }
      r.value[j] = value = reward[j] - end_cost * terminated[j] + gamma * value;
      share *= gamma;
      r.counts[j] = share <= unseen;
    }
    return r;
  }
};

}  // namespace softmpc
