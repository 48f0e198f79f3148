// SPDX-License-Identifier: Apache-2.0
// HalfCheetah: reward of rollouts. Exact with positions in the observation, else unknown. There is
// no termination.
#pragma once

#include "../rules.h"

namespace softmpc::tasks {

struct HalfCheetah {
  enum Observation : int {
    x,
    z,
    angle,
    back_thigh,
    back_shin,
    back_foot,
    front_thigh,
    front_shin,
    front_foot,
    x_velocity,
    z_velocity,
    angular_velocity,
    back_thigh_velocity,
    back_shin_velocity,
    back_foot_velocity,
    front_thigh_velocity,
    front_shin_velocity,
    front_foot_velocity,
    observation_size
  };
  static constexpr int action_size = 6;
  static constexpr double dt = 0.05;
  static constexpr bool has_termination = false;

  // r = dx/dt - 0.1 |a|^2
  template <class T>
  SOFTMPC_HD static T reward_terms(T velocity, T action_squared) {
    return velocity - static_cast<T>(0.1) * action_squared;
  }

  template <class X, class A, class N>
  SOFTMPC_HD static float reward(const X& obs, const A& act, const N& next) {
    const float velocity = (next[x] - obs[x]) / static_cast<float>(dt);
    return reward_terms(velocity, squared_norm<action_size>(act));
  }
};

}  // namespace softmpc::tasks
