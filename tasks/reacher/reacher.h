// SPDX-License-Identifier: Apache-2.0
// Reacher: reward of rollouts. Exact; there is no termination.
#pragma once

#include "../rules.h"

namespace softmpc::tasks {

struct Reacher {
  enum Observation : int {
    cosine0,
    cosine1,
    sine0,
    sine1,
    target_x,
    target_y,
    velocity0,
    velocity1,
    offset_x,  // fingertip minus target
    offset_y,
    observation_size
  };
  static constexpr int action_size = 2;
  static constexpr bool has_termination = false;

  // r = -|fingertip - target| - |a|^2
  template <class T>
  SOFTMPC_HD static T reward_terms(T distance, T action_squared) {
    return -distance - action_squared;
  }

  template <class X, class A, class N>
  SOFTMPC_HD static float reward(const X&, const A& act, const N& next) {
    const float dx = next[offset_x], dy = next[offset_y];
    return reward_terms(__builtin_sqrtf(dx * dx + dy * dy), squared_norm<action_size>(act));
  }
};

}  // namespace softmpc::tasks
