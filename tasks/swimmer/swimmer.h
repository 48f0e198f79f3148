// SPDX-License-Identifier: Apache-2.0
// Swimmer: reward of rollouts. Exact with positions in the observation, else unknown. There is no
// termination.
#pragma once

#include "../rules.h"

namespace softmpc::tasks {

struct Swimmer {
  enum Observation : int {
    x,
    y,
    angle,
    joint1,
    joint2,
    x_velocity,
    y_velocity,
    angular_velocity,
    joint1_velocity,
    joint2_velocity,
    observation_size
  };
  static constexpr int action_size = 2;
  static constexpr double dt = 0.04;
  static constexpr bool has_termination = false;

  // r = dx/dt - 1e-4 |a|^2
  template <class T>
  SOFTMPC_HD static T reward_terms(T velocity, T action_squared) {
    return velocity - static_cast<T>(1e-4) * action_squared;
  }

  template <class X, class A, class N>
  SOFTMPC_HD static float reward(const X& obs, const A& act, const N& next) {
    const float velocity = (next[x] - obs[x]) / static_cast<float>(dt);
    return reward_terms(velocity, squared_norm<action_size>(act));
  }
};

}  // namespace softmpc::tasks
