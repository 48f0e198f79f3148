// SPDX-License-Identifier: Apache-2.0
// Random networks and an analytic reward for planner tests, and the buffers of a solve.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "softmpc/hd/macros.h"
#include "softmpc/network.h"
#include "softmpc/planner.h"

namespace softmpc::testing {

class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  int whole(int low, int high) { return std::uniform_int_distribution<int>(low, high)(engine_); }
  double real(double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(engine_);
  }
  float normal(double deviation = 1) {
    return static_cast<float>(deviation * std::normal_distribution<double>()(engine_));
  }
  bool coin() { return whole(0, 1) == 1; }
  std::vector<float> normals(std::size_t n, double deviation = 1) {
    std::vector<float> values(n);
    for (float& v : values) v = normal(deviation);
    return values;
  }

 private:
  std::mt19937_64 engine_;
};

struct Box {
  float low, high;
};

/// Around 0, on one side of it, apart from it or a single value; without an end if `endless`.
inline Box random_box(Random& random, bool endless) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const auto low = static_cast<float>(random.real(-2, -0.5));
  const auto high = static_cast<float>(random.real(0.5, 2));
  const float sign = random.coin() ? 1.0f : -1.0f;
  const auto side = [sign](float near, float far) {
    return sign > 0 ? Box{near, far} : Box{-far, -near};
  };
  switch (random.whole(0, 7)) {
    case 0:
      return side(0, 2 * high);
    case 1:
      return side(0.5f * high, 3 * high);
    case 2:
      return {low, low};
    case 3:
      return endless ? Box{-kInfinity, kInfinity} : Box{low, high};
    case 4:
      return endless ? side(0.5f * high, kInfinity) : Box{low, high};
    default:
      return {low, high};
  }
}

/// An action inside the box.
inline double random_neutral(Random& random, Box box) {
  const double share = random.real(0.3, 0.7);
  if (std::isinf(box.low)) return std::isinf(box.high) ? share : box.high - share;
  return box.low + share * (std::isinf(box.high) ? 1.0 : double{box.high} - box.low);
}

/// Weights of deviation `gain` / sqrt(inputs); `scaled` gives a normalisation other than identity.
inline MlpWeights random_weights(Random& random, int stack, const std::vector<int>& sizes,
                                 double gain = 1.2, bool scaled = false) {
  MlpWeights w = MlpWeights::zeros(stack, sizes);
  for (int l = 0; l < w.layers(); ++l) {
    w.weight[l] = random.normals(w.weight[l].size(), gain / std::sqrt(sizes[l]));
    w.bias[l] = random.normals(w.bias[l].size(), 0.2);
  }
  if (!scaled) return w;
  w.input_mean = random.normals(w.input_mean.size(), 0.3);
  w.output_mean = random.normals(w.output_mean.size(), 0.1);
  for (float& s : w.input_std) s = static_cast<float>(random.real(0.5, 2));
  for (float& s : w.output_std) s = static_cast<float>(random.real(0.5, 1.5));
  return w;
}

/// A formula, and its text for a device.
#define SOFTMPC_TEST_RULE(...) \
  __VA_ARGS__                  \
  inline constexpr char kTestRule[] = #__VA_ARGS__;

// clang-format off
SOFTMPC_TEST_RULE(
struct TestRule {
  static constexpr float kEnd = 0.8f;
  // r = 1 - |x'|^2 / 10 - |a|^2 / 5 + x_0 a_0 / 4
  template <class T, class X, class A, class N>
  SOFTMPC_HD static T formula(int nx, int nu, const X& x, const A& a, const N& next) {
    T squares = 0;
    T effort = 0;
    for (int i = 0; i < nx; ++i) squares += static_cast<T>(next[i]) * static_cast<T>(next[i]);
    for (int i = 0; i < nu; ++i) effort += static_cast<T>(a[i]) * static_cast<T>(a[i]);
    return 1 - squares / 10 - effort / 5 + static_cast<T>(x[0]) * static_cast<T>(a[0]) / 4;
  }
};)
// clang-format on

/// r of TestRule; ends where x'_0 >= 0.8.
class TestReward final : public RewardModel {
 public:
  TestReward(int nx, int nu, bool ends) : nx_(nx), nu_(nu), ends_(ends) {}

  static constexpr double kEnd = 0.8;

  void reward(ConstColumns x, ConstColumns a, ConstColumns next, int count,
              float* out) const override {
    for (int j = 0; j < count; ++j)
      out[j] = TestRule::formula<float>(nx_, nu_, x.lane(j), a.lane(j), next.lane(j));
  }
  bool has_termination() const override { return ends_; }
  DeviceRules device_rules() const override {
    DeviceRules rules;
    rules.type = "DeviceTestRule";
    rules.source = std::string("#include \"softmpc/hd/macros.h\"\n") + kTestRule +
                   R"(
struct DeviceTestRule {
  int nx, nu;
  SOFTMPC_HD explicit DeviceTestRule(const float* p)
      : nx(static_cast<int>(p[0])), nu(static_cast<int>(p[1])) {}
  static constexpr bool has_termination = true;
  template <class X, class A, class N>
  SOFTMPC_HD float reward(const X& x, const A& a, const N& next) const {
    return TestRule::formula<float>(nx, nu, x, a, next);
  }
  template <class N>
  SOFTMPC_HD bool terminated(const N& next) const { return next[0] >= TestRule::kEnd; }
};
)";
    rules.parameters = {static_cast<float>(nx_), static_cast<float>(nu_)};
    return rules;
  }
  void terminated(ConstColumns next, int count, std::uint8_t* out) const override {
    for (int j = 0; j < count; ++j) out[j] = next[0][j] >= static_cast<float>(kEnd);
  }

 private:
  int nx_, nu_;
  bool ends_;
};

/// Inputs and outputs of a batch.
struct Buffers {
  std::vector<float> observation, plan, action;
  std::vector<std::uint32_t> id;
  std::vector<double> value, effective_samples, valid_share;
  std::vector<PlanStatus> status;

  Buffers(int problems, int nx, int nu, int horizon)
      : observation(static_cast<std::size_t>(problems) * nx),
        plan(static_cast<std::size_t>(problems) * (horizon + 1) * nu),
        action(static_cast<std::size_t>(problems) * nu),
        id(static_cast<std::size_t>(problems)),
        value(id.size()),
        effective_samples(id.size()),
        valid_share(id.size()),
        status(id.size()) {
    for (std::size_t b = 0; b < id.size(); ++b) id[b] = static_cast<std::uint32_t>(b);
  }
  PlanBatch batch() {
    return {static_cast<int>(id.size()), observation, id,    plan, action, value,
            effective_samples,           valid_share, status};
  }
};

/// Owned networks of a small planning problem.
struct SmallModels {
  int nx, nu;
  MlpWeights member_weights, critic_weights, policy_weights;
  std::vector<float> low, high;
  MlpDynamics dynamics;
  MlpValue value;
  MlpPolicy policy;
  TestReward reward;

  SmallModels(Random& random, int nx_, int nu_, int members, int width, bool ends = false)
      : nx(nx_),
        nu(nu_),
        member_weights(random_weights(random, members, {nx + nu, width, width, nx}, 0.7)),
        critic_weights(random_weights(random, 1, {nx + nu, width, 1})),
        policy_weights(random_weights(random, 1, {nx, width, nu})),
        low(static_cast<std::size_t>(nu), -1.0f),
        high(static_cast<std::size_t>(nu), 1.5f),
        dynamics(member_weights, nx, nu),
        value(critic_weights, nx, nu),
        policy(policy_weights, low, high),
        reward(nx, nu, ends) {}

  Models models() const { return {&dynamics, &reward, &value, &policy}; }
  ProblemShape shape(int max_problems) const { return {nx, nu, low, high, max_problems}; }
};

inline std::string describe(const PlannerConfig& c, const ProblemShape& s, int problems) {
  const char* draws[] = {"per_step", "per_rollout_step", "per_rollout"};
  const char* modes[] = {"default", "mean_residual", "policy_residual"};
  return "B " + std::to_string(problems) + ", K " + std::to_string(c.rollouts) + ", H " +
         std::to_string(c.horizon) + ", nx " + std::to_string(s.nx) + ", nu " +
         std::to_string(s.nu) + ", iterations " + std::to_string(c.iterations) + ", " +
         (c.prior == Prior::gaussian ? "gaussian, " : "uniform, ") +
         modes[static_cast<int>(c.control_mode)] + ", " + draws[static_cast<int>(c.member_draw)] +
         (c.handle_terminations ? ", terminations" : "");
}

}  // namespace softmpc::testing
