// SPDX-License-Identifier: Apache-2.0
// InvertedPendulum: reward and termination of rollouts. Exact.
#pragma once

#include "../rules.h"

namespace softmpc::tasks {

struct InvertedPendulum {
  enum Observation : int { position, angle, velocity, angular_velocity, observation_size };
  static constexpr bool has_termination = true;

  // |angle| <= 0.2; false for NaN
  template <class T>
  SOFTMPC_HD static bool healthy(T pole_angle) {
    const T limit = static_cast<T>(0.2);
    return (pole_angle >= -limit) & (pole_angle <= limit);
  }

  // r = [healthy]
  template <class T>
  SOFTMPC_HD static T reward_terms(bool is_healthy) {
    return is_healthy ? T{1} : T{0};
  }

  template <class X, class A, class N>
  SOFTMPC_HD static float reward(const X&, const A&, const N& next) {
    return reward_terms<float>(healthy(next[angle]));
  }

  template <class N>
  SOFTMPC_HD static bool terminated(const N& next) {
    return !healthy(next[angle]);
  }
};

}  // namespace softmpc::tasks
