// SPDX-License-Identifier: Apache-2.0
// What the rules of all tasks share: small host-device helpers. Rules and this file are compiled by
// a host's compiler and, as text, into a device's kernels.
#pragma once

#include <limits>

#include "softmpc/hd/macros.h"

namespace softmpc::tasks {

// |a|^2 over the first `size` entries
template <int size, class T = float, class Vector>
SOFTMPC_HD T squared_norm(const Vector& a) {
  T sum = 0;
  for (int i = 0; i < size; ++i) sum += static_cast<T>(a[i]) * static_cast<T>(a[i]);
  return sum;
}

// [low < value < high]; & instead of && keeps loops over lanes free of branches
template <class T>
SOFTMPC_HD bool inside(T value, double low, double high) {
  return (value > static_cast<T>(low)) & (value < static_cast<T>(high));
}

/// The termination of `Rules` alone, for tasks whose reward is learned; reward() gives NaN.
template <class Rules>
struct TerminationOnly {
  static constexpr bool has_termination = true;

  template <class X, class A, class N>
  SOFTMPC_HD static float reward(const X&, const A&, const N&) {
    return std::numeric_limits<float>::quiet_NaN();
  }
  template <class N>
  SOFTMPC_HD static bool terminated(const N& next) {
    return Rules::terminated(next);
  }
};

/// x' = observe(advance(recover(x), a)): an analytic task's rules (analytic_task.h) as dynamics.
template <class Rules>
struct AnalyticMotion {
  template <class X, class A, class N>
  SOFTMPC_HD static void step(const X& x, const A& a, N& next) {
    float state[2 * Rules::nq];
    Rules::recover(x, state);
    Rules::template advance<float>(state, a);
    Rules::observe(state, next);
  }
};

}  // namespace softmpc::tasks
