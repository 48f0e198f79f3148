// SPDX-License-Identifier: Apache-2.0
// lq: a double integrator with a quadratic reward, whose optimal value and gain are known in closed
// form (a Riccati equation). x = (position, velocity), u = acceleration.
#pragma once

#include "../reset_random.h"
#include "../rules.h"

namespace softmpc::tasks {

struct Lq {
  enum Observation : int { position, velocity, nx };
  static constexpr const char* name = "lq";
  static constexpr const char* summary =
      "double integrator with a quadratic reward, known in closed form";
  static constexpr int nq = 1, nu = 1;
  static constexpr double dt = 0.1;
  static constexpr int time_limit = 200;
  static constexpr float bound = 10;
  static constexpr bool has_termination = false;

  // x+ = A x + B u, r = -(x' Q x + u' R u)
  static constexpr double A[2][2] = {{1, dt}, {0, 1}};
  static constexpr double B[2] = {0.5 * dt * dt, dt};
  static constexpr double Q[2] = {1, 0.1};  // diagonal
  static constexpr double R = 0.1;

  // x <- A x + B u
  template <class T, class State, class Action>
  SOFTMPC_HD static void advance(State& x, const Action& u) {
    const T p = x[0], v = x[1], force = u[0];
    x[0] = static_cast<T>(A[0][0]) * p + static_cast<T>(A[0][1]) * v + static_cast<T>(B[0]) * force;
    x[1] = static_cast<T>(A[1][0]) * p + static_cast<T>(A[1][1]) * v + static_cast<T>(B[1]) * force;
  }

  template <class State, class Vector>
  SOFTMPC_HD static void observe(const State& x, Vector&& observation) {
    for (int i = 0; i < nx; ++i) observation[i] = x[i];
  }
  template <class Vector, class State>
  SOFTMPC_HD static void recover(const Vector& observation, State& x) {
    for (int i = 0; i < nx; ++i) x[i] = observation[i];
  }

  // r = -(q1 p^2 + q2 v^2 + R u^2)
  template <class T = float, class X, class U, class N>
  SOFTMPC_HD static T reward(const X& x, const U& u, const N&) {
    const T p = x[position], v = x[velocity], force = u[0];
    return -(static_cast<T>(Q[0]) * p * p + static_cast<T>(Q[1]) * v * v +
             static_cast<T>(R) * force * force);
  }

  // uniform on [-1, 1]^2
  static void draw_start(ResetRandom& random, double* x) {
    for (int i = 0; i < nx; ++i) x[i] = random.uniform(-1, 1);
  }
};

}  // namespace softmpc::tasks
