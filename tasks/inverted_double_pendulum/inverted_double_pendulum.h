// SPDX-License-Identifier: Apache-2.0
// InvertedDoublePendulum: reward and termination of rollouts. Exact but for the tip, which the
// environment reads at its last integrator stage (difference up to 5e-4), and for velocities
// beyond 10, which the observation clips.
#pragma once

#include <cmath>

#include "../rules.h"

namespace softmpc::tasks {

struct InvertedDoublePendulum {
  enum Observation : int {
    position,
    sine1,
    sine2,
    cosine1,
    cosine2,
    velocity,
    angular_velocity1,
    angular_velocity2,
    constraint_force,
    observation_size
  };
  static constexpr bool has_termination = true;

  // y > 1
  template <class T>
  SOFTMPC_HD static bool healthy(T tip_height) {
    return tip_height > T{1};
  }

  // r = 10 [healthy] - 0.01 x^2 - (y - 2)^2 - 1e-3 w1^2 - 5e-3 w2^2
  template <class T>
  SOFTMPC_HD static T reward_terms(T tip_x, T tip_height, T velocity1, T velocity2) {
    const T alive = healthy(tip_height) ? T{10} : T{0};
    const T drop = tip_height - T{2};
    return alive - static_cast<T>(0.01) * tip_x * tip_x - drop * drop -
           static_cast<T>(1e-3) * velocity1 * velocity1 -
           static_cast<T>(5e-3) * velocity2 * velocity2;
  }

  // x = o0 + 0.6 o1 + 0.6 sin s, y = 0.6 o3 + 0.6 cos s with s = atan2(o1, o3) + atan2(o2, o4)
  template <class N>
  SOFTMPC_HD static void tip(const N& next, float& tip_x, float& tip_height) {
    float s1 = next[sine1], c1 = next[cosine1], s2 = next[sine2], c2 = next[cosine2];
    normalise(s1, c1);
    normalise(s2, c2);
    tip_x = next[position] + 0.6f * next[sine1] + 0.6f * (s1 * c2 + c1 * s2);
    tip_height = 0.6f * next[cosine1] + 0.6f * (c1 * c2 - s1 * s2);
  }

  template <class X, class A, class N>
  SOFTMPC_HD static float reward(const X&, const A&, const N& next) {
    float tip_x, tip_height;
    tip(next, tip_x, tip_height);
    return reward_terms<float>(tip_x, tip_height, next[angular_velocity1], next[angular_velocity2]);
  }

  template <class N>
  SOFTMPC_HD static bool terminated(const N& next) {
    float tip_x, tip_height;
    tip(next, tip_x, tip_height);
    return !healthy(tip_height);
  }

 private:
  // (s, c) / |(s, c)|: sine and cosine of atan2(s, c); (0, 1) for the null vector, as atan2 has it
  SOFTMPC_HD static void normalise(float& s, float& c) {
    const float length = __builtin_sqrtf(s * s + c * c);
    const bool null = length == 0.0f;
    const float scale = 1.0f / (null ? 1.0f : length);
    s *= scale;
    c = null ? 1.0f : c * scale;
  }
};

}  // namespace softmpc::tasks
