// SPDX-License-Identifier: Apache-2.0
// Pusher: reward of rollouts. Exact; there is no termination.
#pragma once

#include "../rules.h"

namespace softmpc::tasks {

struct Pusher {
  enum Observation : int {
    joint0 = 0,     // 7 joint angles
    velocity0 = 7,  // 7 joint velocities
    tip = 14,       // x, y, z of the arm's tip,
    object = 17,    // of the object
    goal = 20,      // and of the goal
    observation_size = 23
  };
  static constexpr int action_size = 7;
  static constexpr bool has_termination = false;

  // r = -|object - goal| - 0.5 |object - tip| - 0.1 |a|^2
  template <class T>
  SOFTMPC_HD static T reward_terms(T goal_distance, T tip_distance, T action_squared) {
    return -goal_distance - static_cast<T>(0.5) * tip_distance -
           static_cast<T>(0.1) * action_squared;
  }

  template <class X, class A, class N>
  SOFTMPC_HD static float reward(const X&, const A& act, const N& next) {
    return reward_terms(distance(next, object, goal), distance(next, object, tip),
                        squared_norm<action_size>(act));
  }

 private:
  // |o[from..from+2] - o[to..to+2]|
  template <class N>
  SOFTMPC_HD static float distance(const N& o, int from, int to) {
    float sum = 0;
    for (int i = 0; i < 3; ++i) {
      const float d = o[from + i] - o[to + i];
      sum += d * d;
    }
    return __builtin_sqrtf(sum);
  }
};

}  // namespace softmpc::tasks
