// SPDX-License-Identifier: Apache-2.0
// pendulum: swing a rod up and hold it there with too little torque. Gymnasium's Pendulum-v1: state
// (angle, angular velocity), angle 0 upright, observed as (cos, sin, angular velocity).
#pragma once

#include <cmath>

#include "../reset_random.h"
#include "../rules.h"

namespace softmpc::tasks {

struct Pendulum {
  enum Observation : int { cosine, sine, angular_velocity, nx };
  static constexpr const char* name = "pendulum";
  static constexpr const char* summary = "swing a rod up with a weak motor";
  static constexpr int nq = 1, nu = 1;
  static constexpr double dt = 0.05;
  static constexpr int time_limit = 200;
  static constexpr float bound = 2;  // N m
  static constexpr bool has_termination = false;
  static constexpr double gravity = 10, mass = 1, length = 1, max_speed = 8;

  template <class T>
  SOFTMPC_HD static T clip(T value, T limit) {
    return value < -limit ? -limit : (value > limit ? limit : value);
  }

  // w <- clip(w + (3 g / (2 l) sin q + 3 u / (m l^2)) dt, +-8), q <- q + w dt; u clipped to +-2
  template <class T, class State, class Action>
  SOFTMPC_HD static void advance(State& state, const Action& action) {
    const T torque = clip<T>(action[0], bound);
    const T pull = static_cast<T>(3 * gravity / (2 * length)) * std::sin(T{state[0]});
    const T push = static_cast<T>(3 / (mass * length * length)) * torque;
    state[1] = clip<T>(state[1] + (pull + push) * static_cast<T>(dt), static_cast<T>(max_speed));
    state[0] += state[1] * static_cast<T>(dt);
  }

  template <class State, class Vector>
  SOFTMPC_HD static void observe(const State& state, Vector&& observation) {
    observation[cosine] = std::cos(state[0]);
    observation[sine] = std::sin(state[0]);
    observation[angular_velocity] = state[1];
  }
  template <class Vector, class State>
  SOFTMPC_HD static void recover(const Vector& observation, State& state) {
    state[0] = std::atan2(observation[sine], observation[cosine]);
    state[1] = observation[angular_velocity];
  }

  // r = -(q^2 + 0.1 w^2 + 1e-3 u^2) with q in (-pi, pi], before the step
  template <class T = float, class X, class U, class N>
  SOFTMPC_HD static T reward(const X& x, const U& u, const N&) {
    const T q = std::atan2(T{x[sine]}, T{x[cosine]});
    const T w = x[angular_velocity];
    const T torque = clip<T>(u[0], bound);
    return -(q * q + static_cast<T>(0.1) * w * w + static_cast<T>(1e-3) * torque * torque);
  }

  // angle uniform on the circle, angular velocity uniform on (-1, 1)
  static void draw_start(ResetRandom& random, double* state) {
    constexpr double pi = 3.14159265358979323846;
    state[0] = random.uniform(-pi, pi);
    state[1] = random.uniform(-1, 1);
  }
};

}  // namespace softmpc::tasks
