// SPDX-License-Identifier: Apache-2.0
// Hopper: reward and termination of rollouts. Exact with positions in the observation; without them
// only the termination is known. Velocities count as healthy up to 100, but the environment's
// observation clips them to +-10.
#pragma once

#include "../rules.h"

namespace softmpc::tasks {

template <bool positions = true>
struct Hopper {
  static constexpr int hidden = positions ? 0 : 1;  // entries left out at the front
  enum Observation : int {
    x = -hidden,
    z,
    angle,
    thigh,
    leg,
    foot,
    x_velocity,
    z_velocity,
    angular_velocity,
    thigh_velocity,
    leg_velocity,
    foot_velocity,
    observation_size
  };
  static constexpr int action_size = 3;
  static constexpr int state_size = observation_size - angle;
  static constexpr double dt = 0.008;
  static constexpr bool has_termination = true;

  // z > 0.7, |angle| < 0.2, |every entry from the angle on| < 100
  template <class T, class State>
  SOFTMPC_HD static bool healthy(T height, T torso_angle, const State& state) {
    bool good = (height > static_cast<T>(0.7)) & inside(torso_angle, -0.2, 0.2);
    SOFTMPC_UNROLL
    for (int i = 0; i < state_size; ++i) good &= inside<T>(state[i], -100, 100);
    return good;
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
    return !healthy(next[z], next[angle], From<N>{next});
  }

 private:
  // the observation from the angle on
  template <class N>
  struct From {
    const N& all;
    SOFTMPC_HD float operator[](int i) const { return all[angle + i]; }
  };
};

}  // namespace softmpc::tasks
