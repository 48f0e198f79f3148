// SPDX-License-Identifier: Apache-2.0
// Small analytic models of any size for tests of the planner on a device.
#pragma once

#include "../core/random_models.h"
#include "softmpc/hd/math.h"
#include "softmpc/rules.h"

// clang-format off
SOFTMPC_RULES(kTestMotionText,
namespace softmpc::testing {
// x'_i = x_i + dt (a_(i mod nu) - tanh(x_(i+1 mod nx)) / 2); parameters: nx, nu, dt
struct TestMotion {
  SOFTMPC_HD explicit TestMotion(const float* p)
      : nx(static_cast<int>(p[0])), nu(static_cast<int>(p[1])), dt(p[2]) {}
  template <class X, class A, class N>
  SOFTMPC_HD void step(const X& x, const A& a, N& next) const {
    for (int i = 0; i < nx; ++i)
      next[i] = x[i] + dt * (a[i % nu] - 0.5f * hd::tanh(x[(i + 1) % nx]));
  }
  int nx;
  int nu;
  float dt;
};
// Q = (x_0 + a_0) weight - |x|^2; parameters: nx, weight
struct TestEnd {
  SOFTMPC_HD explicit TestEnd(const float* p) : nx(static_cast<int>(p[0])), weight(p[1]) {}
  template <class X, class A>
  SOFTMPC_HD float value(const X& x, const A& a) const {
    float q = (x[0] + a[0]) * weight;
    for (int i = 0; i < nx; ++i) q -= x[i] * x[i];
    return q;
  }
  int nx;
  float weight;
};
})
// clang-format on

namespace softmpc::testing {

class TestDynamics final : public RuleDynamics<TestMotion> {
 public:
  TestDynamics(int nx, int nu, float dt)
      : RuleDynamics(kTestMotionText, {static_cast<float>(nx), static_cast<float>(nu), dt}) {}
};

class TestValue final : public RuleValue<TestEnd> {
 public:
  TestValue(int nx, float weight)
      : RuleValue(kTestMotionText, {static_cast<float>(nx), weight}), nx_(nx) {}
  void set_weight(float weight) {
    const float parameters[] = {static_cast<float>(nx_), weight};
    set_parameters(parameters);
  }

 private:
  int nx_;
};

}  // namespace softmpc::testing
