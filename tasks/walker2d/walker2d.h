// SPDX-License-Identifier: Apache-2.0
// Walker2d: reward and termination of rollouts. Exact with positions in the observation; without
// them only the termination is known.
#pragma once

#include "../rules.h"

namespace softmpc::tasks {

template <bool positions = true>
struct Walker2d {
  static constexpr int hidden = positions ? 0 : 1;  // entries left out at the front
  enum Observation : int {
    x = -hidden,
    z,
    angle,
    right_thigh,
    right_leg,
    right_foot,
    left_thigh,
    left_leg,
    left_foot,
    x_velocity,
    z_velocity,
    angular_velocity,
    right_thigh_velocity,
    right_leg_velocity,
    right_foot_velocity,
    left_thigh_velocity,
    left_leg_velocity,
    left_foot_velocity,
    observation_size
  };
  static constexpr int action_size = 6;
  static constexpr double dt = 0.008;
  static constexpr bool has_termination = true;

  // 0.8 < z < 2, |angle| < 1
  template <class T>
  SOFTMPC_HD static bool healthy(T height, T torso_angle) {
    return inside(height, 0.8, 2) & inside(torso_angle, -1, 1);
  }

  // r = dx/dt + [healthy] - 1e-3 |a|^2
  template <class T>
  SOFTMPC_HD static T reward_terms(T velocity, bool is_healthy, T action_squared) {
    return velocity + (is_healthy ? T{1} : T{0}) - static_cast<T>(1e-3) * action_squared;
  }

  template <class X, class A, class N>
  SOFTMPC_HD static float reward(const X& obs, const A& act, const N& next) {
    static_assert(positions, "the reward needs x");
    const float velocity = (next[x] - obs[x]) / static_cast<float>(dt);
    return reward_terms(velocity, !terminated(next), squared_norm<action_size>(act));
  }

  template <class N>
  SOFTMPC_HD static bool terminated(const N& next) {
    return !healthy(next[z], next[angle]);
  }
};

}  // namespace softmpc::tasks
