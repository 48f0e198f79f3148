// SPDX-License-Identifier: Apache-2.0
// Small analytic models of any size for tests of the planner on a device.
#pragma once

#include <string>

#include "../core/random_models.h"
#include "softmpc/hd/math.h"
#include "softmpc/model.h"

namespace softmpc::testing {

/// A formula, and its text for a device.
#define SOFTMPC_TEST_MOTION(...) \
  __VA_ARGS__                    \
  inline constexpr char kTestMotion[] = #__VA_ARGS__;

// clang-format off
SOFTMPC_TEST_MOTION(
struct TestMotion {
  // x'_i = x_i + dt (a_(i mod nu) - tanh(x_(i+1 mod nx)) / 2)
  template <class X, class A, class N>
  SOFTMPC_HD static void step(int nx, int nu, float dt, const X& x, const A& a, N&& next) {
    for (int i = 0; i < nx; ++i)
      next[i] = x[i] + dt * (a[i % nu] - 0.5f * softmpc::hd::tanh(x[(i + 1) % nx]));
  }
  // Q = (x_0 + a_0) weight - |x|^2
  template <class X, class A>
  SOFTMPC_HD static float value(int nx, float weight, const X& x, const A& a) {
    float q = (x[0] + a[0]) * weight;
    for (int i = 0; i < nx; ++i) q -= x[i] * x[i];
    return q;
  }
};)
// clang-format on

/// The text of both models; sizes are parameters.
inline std::string motion_text() {
  return std::string("#include \"softmpc/hd/math.h\"\n") + kTestMotion + R"(
struct DeviceTestMotion {
  int nx, nu;
  float dt;
  SOFTMPC_HD explicit DeviceTestMotion(const float* p)
      : nx(static_cast<int>(p[0])), nu(static_cast<int>(p[1])), dt(p[2]) {}
  template <class X, class A, class N>
  SOFTMPC_HD void step(const X& x, const A& a, N& next) const {
    TestMotion::step(nx, nu, dt, x, a, next);
  }
};
struct DeviceTestValue {
  int nx;
  float weight;
  SOFTMPC_HD explicit DeviceTestValue(const float* p) : nx(static_cast<int>(p[0])), weight(p[1]) {}
  template <class X, class A>
  SOFTMPC_HD float value(const X& x, const A& a) const {
    return TestMotion::value(nx, weight, x, a);
  }
};
)";
}

class TestDynamics final : public DynamicsModel {
 public:
  TestDynamics(int nx, int nu, float dt) : nx_(nx), nu_(nu), dt_(dt) {}
  int members() const override { return 1; }
  std::size_t scratch_bytes(int) const override { return 0; }
  void step(int, ConstColumns x, ConstColumns a, int count, const StepResult& out,
            void*) const override {
    for (int j = 0; j < count; ++j) {
      struct Next {
        Columns columns;
        int lane;
        float& operator[](int i) const { return columns[i][lane]; }
      };
      TestMotion::step(nx_, nu_, dt_, x.lane(j), a.lane(j), Next{out.next, j});
    }
  }
  DeviceRules device_rules() const override {
    return {
        "DeviceTestMotion", motion_text(), {static_cast<float>(nx_), static_cast<float>(nu_), dt_}};
  }

 private:
  int nx_, nu_;
  float dt_;
};

class TestValue final : public TerminalValue {
 public:
  TestValue(int nx, float weight) : nx_(nx), weight_(weight) {}
  std::size_t scratch_bytes(int) const override { return 0; }
  void evaluate(ConstColumns x, ConstColumns a, int count, float* out, void*) const override {
    for (int j = 0; j < count; ++j) out[j] = TestMotion::value(nx_, weight_, x.lane(j), a.lane(j));
  }
  DeviceRules device_rules() const override {
    return {"DeviceTestValue", motion_text(), {static_cast<float>(nx_), weight_}};
  }
  void set_weight(float weight) { weight_ = weight; }

 private:
  int nx_;
  float weight_;
};

}  // namespace softmpc::testing
