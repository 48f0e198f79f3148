// SPDX-License-Identifier: Apache-2.0
// Ant: reward and termination of rollouts. With positions (and so without contact cost) the reward
// is known; the environment reads x at its last integrator stage, a difference of up to 5e-2.
// Without positions only the termination is known.
#pragma once

#include "../rules.h"

namespace softmpc::tasks {

template <bool positions = true>
struct Ant {
  static constexpr int hidden = positions ? 0 : 2;  // entries left out at the front
  enum Observation : int {
    x = -hidden,
    y,
    z,
    quaternion,               // w, x, y, z
    joint0 = quaternion + 4,  // 8 joint angles
    x_velocity = joint0 + 8,
    y_velocity,
    z_velocity,
    angular_velocity,                        // 3
    joint_velocity0 = angular_velocity + 3,  // 8
    contact_forces = joint_velocity0 + 8,    // 13 x 6, only without positions
    observation_size = contact_forces + (positions ? 0 : 78)
  };
  static constexpr int action_size = 8;
  static constexpr double dt = 0.05;
  static constexpr bool has_termination = true;

  // 0.2 <= z <= 1 and all of the state finite
  template <int count, class T, class State>
  SOFTMPC_HD static bool healthy(T height, const State& state) {
    bool good = (height >= static_cast<T>(0.2)) & (height <= static_cast<T>(1));
    SOFTMPC_UNROLL
    for (int i = 0; i < count; ++i) good &= state[i] - state[i] == 0;
    return good;
  }

  // r = dx/dt + [healthy] - 0.5 |a|^2 - contact cost
  template <class T>
  SOFTMPC_HD static T reward_terms(T velocity, bool is_healthy, T action_squared, T contact_cost) {
    return velocity + (is_healthy ? T{1} : T{0}) - static_cast<T>(0.5) * action_squared -
           contact_cost;
  }

  template <class X, class A, class N>
  SOFTMPC_HD static float reward(const X& obs, const A& act, const N& next) {
    static_assert(positions, "the reward needs x");
    const float velocity = (next[x] - obs[x]) / static_cast<float>(dt);
    return reward_terms(velocity, !terminated(next), squared_norm<action_size>(act), 0.0f);
  }

  template <class N>
  SOFTMPC_HD static bool terminated(const N& next) {
    return !healthy<contact_forces>(next[z], next);
  }
};

}  // namespace softmpc::tasks
