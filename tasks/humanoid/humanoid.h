// SPDX-License-Identifier: Apache-2.0
// Humanoid: termination of rollouts, and the reward's arithmetic. The reward is not known from the
// observation, which lacks the centre of mass; rollouts learn it.
#pragma once

#include "../rules.h"

namespace softmpc::tasks {

template <bool positions = true>
struct Humanoid {
  static constexpr int hidden = positions ? 0 : 2;  // entries left out at the front
  static constexpr int bodies = 13;                 // without the world
  enum Observation : int {
    x = -hidden,
    y,
    z,
    quaternion,               // w, x, y, z
    joint0 = quaternion + 4,  // 17 joint angles
    x_velocity = joint0 + 17,
    y_velocity,
    z_velocity,
    angular_velocity,                             // 3
    joint_velocity0 = angular_velocity + 3,       // 17
    body_inertia = joint_velocity0 + 17,          // 13 x 10
    body_velocity = body_inertia + 10 * bodies,   // 13 x 6
    actuator_force = body_velocity + 6 * bodies,  // 17
    contact_force = actuator_force + 17,          // 13 x 6
    observation_size = contact_force + 6 * bodies
  };
  static constexpr int action_size = 17;
  static constexpr bool has_termination = true;

  // 1 < z < 2
  template <class T>
  SOFTMPC_HD static bool healthy(T height) {
    return inside(height, 1, 2);
  }

  // r = 1.25 dx_com/dt + 5 [healthy] - 0.1 |a|^2 - min(5e-7 |contact forces|^2, 10)
  template <class T>
  SOFTMPC_HD static T reward_terms(T velocity, bool is_healthy, T action_squared,
                                   T contact_squared) {
    const T contact_cost = static_cast<T>(5e-7) * contact_squared;
    return static_cast<T>(1.25) * velocity + (is_healthy ? T{5} : T{0}) -
           static_cast<T>(0.1) * action_squared - (contact_cost < T{10} ? contact_cost : T{10});
  }

  template <class N>
  SOFTMPC_HD static bool terminated(const N& next) {
    return !healthy(next[z]);
  }
};

}  // namespace softmpc::tasks
