// SPDX-License-Identifier: Apache-2.0
// CartPush: reward and termination of rollouts. Exact.
#pragma once

#include "tasks/rules.h"

namespace softmpc::tasks {

struct CartPush {
  enum Observation : int { position, velocity, observation_size };
  static constexpr int action_size = 1;
  static constexpr bool has_termination = true;

  // |x| < 1
  template <class T>
  SOFTMPC_HD static bool healthy(T x) {
    return inside(x, -1, 1);
  }

  // r = 1 - x^2 - 0.1 |a|^2
  template <class T>
  SOFTMPC_HD static T reward_terms(T x, T action_squared) {
    return T{1} - x * x - static_cast<T>(0.1) * action_squared;
  }

  template <class X, class A, class N>
  SOFTMPC_HD static float reward(const X&, const A& act, const N& next) {
    return reward_terms<float>(next[position], squared_norm<action_size>(act));
  }

  template <class N>
  SOFTMPC_HD static bool terminated(const N& next) {
    return !healthy(next[position]);
  }
};

}  // namespace softmpc::tasks
