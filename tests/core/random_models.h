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

#include "softmpc/bundle.h"
#include "softmpc/network.h"
#include "softmpc/planner.h"
#include "softmpc/rules.h"

// clang-format off
SOFTMPC_RULES(kTestRule,
namespace softmpc::testing {
// Ends where x'_0 >= 0.8. Parameters: nx, nu.
struct TestRule {
  static constexpr bool has_termination = true;
  static constexpr float kEnd = 0.8f;
  SOFTMPC_HD explicit TestRule(const float* p)
      : nx(static_cast<int>(p[0])), nu(static_cast<int>(p[1])) {}

  // r = 1 - |x'|^2 / 10 - |a|^2 / 5 + x_0 a_0 / 4
  template <class T, class X, class A, class N>
  SOFTMPC_HD static T formula(int nx, int nu, const X& x, const A& a, const N& next) {
    T squares = 0;
    T effort = 0;
    for (int i = 0; i < nx; ++i) squares += static_cast<T>(next[i]) * static_cast<T>(next[i]);
    for (int i = 0; i < nu; ++i) effort += static_cast<T>(a[i]) * static_cast<T>(a[i]);
    return 1 - squares / 10 - effort / 5 + static_cast<T>(x[0]) * static_cast<T>(a[0]) / 4;
  }
  template <class X, class A, class N>
  SOFTMPC_HD float reward(const X& x, const A& a, const N& next) const {
    return formula<float>(nx, nu, x, a, next);
  }
  template <class N>
  SOFTMPC_HD bool terminated(const N& next) const { return next[0] >= kEnd; }

  int nx;
  int nu;
};
})
// clang-format on

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

/// Sigma of strongly correlated actions, zero where one is fixed.
inline std::vector<std::vector<double>> random_covariance(Random& random,
                                                          const ProblemShape& shape) {
  const auto nu = static_cast<std::size_t>(shape.nu);
  std::vector<std::vector<float>> direction;
  std::vector<double> length, deviation;
  const auto dot = [](const std::vector<float>& a, const std::vector<float>& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += double{a[i]} * double{b[i]};
    return sum;
  };
  for (std::size_t i = 0; i < nu; ++i) {
    direction.push_back(random.normals(nu + 1));
    length.push_back(std::sqrt(dot(direction[i], direction[i])));
    const bool fixed = shape.action_low[i] == shape.action_high[i];
    deviation.push_back(fixed ? 0 : std::sqrt(random.real(0.02, 0.3)));
  }
  std::vector<std::vector<double>> sigma(nu, std::vector<double>(nu));
  for (std::size_t i = 0; i < nu; ++i)
    for (std::size_t j = 0; j < nu; ++j) {
      const double correlation =
          i == j ? 1 : 0.8 * dot(direction[i], direction[j]) / (length[i] * length[j]);
      sigma[i][j] = deviation[i] * deviation[j] * correlation;
    }
  return sigma;
}

/// Weights of deviation `gain` / sqrt(inputs); `scaled` gives a normalisation other than identity.
inline NetWeights random_weights(Random& random, int stack, const NetSpec& spec, double gain = 1.2,
                                 bool scaled = false) {
  NetWeights w = NetWeights::zeros(stack, spec);
  spec.for_each_slot([&](const ParameterSlot& slot) {
    const double deviation =
        slot.part == Part::weight ? gain / std::sqrt(spec.inputs_of(slot.layer)) : 0.2;
    for (float& v : w.slot(slot.layer, slot.part)) v += random.normal(deviation);
  });
  if (!scaled) return w;
  NetNormalisation& n = w.normalisation;
  n.input_mean = random.normals(n.input_mean.size(), 0.3);
  n.output_mean = random.normals(n.output_mean.size(), 0.1);
  for (float& s : n.input_std) s = static_cast<float>(random.real(0.5, 2));
  for (float& s : n.output_std) s = static_cast<float>(random.real(0.5, 1.5));
  return w;
}

/// TestRule with sizes and with an end that each reward may have or not.
class TestReward final : public RuleReward<TestRule> {
 public:
  TestReward(int nx, int nu, bool ends)
      : RuleReward(kTestRule, {static_cast<float>(nx), static_cast<float>(nu)}), ends_(ends) {}
  bool has_termination() const override { return ends_; }

 private:
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

/// Random inputs of a batch.
inline Buffers random_buffers(Random& random, int problems, const ProblemShape& shape,
                              int horizon) {
  Buffers b(problems, shape.nx, shape.nu, horizon);
  b.observation = random.normals(b.observation.size(), 0.5);
  b.plan = random.normals(b.plan.size(), 0.3);
  for (auto& id : b.id) id = static_cast<std::uint32_t>(random.whole(0, 1'000'000'000));
  return b;
}

/// Owned networks of a small planning problem.
struct SmallModels {
  int nx, nu;
  NetWeights member_weights, critic_weights, policy_weights;
  std::vector<float> low, high;
  MlpDynamics dynamics;
  MlpValue value;
  MlpPolicy policy;
  TestReward reward;

  SmallModels(Random& random, int nx_, int nu_, int members, int width, bool ends = false)
      : nx(nx_),
        nu(nu_),
        member_weights(
            random_weights(random, members, NetSpec::mlp({nx + nu, width, width, nx}), 0.7)),
        critic_weights(random_weights(random, 1, NetSpec::mlp({nx + nu, width, 1}))),
        policy_weights(random_weights(random, 1, NetSpec::mlp({nx, width, nu}))),
        low(static_cast<std::size_t>(nu), -1.0f),
        high(static_cast<std::size_t>(nu), 1.5f),
        dynamics(member_weights, nx, nu),
        value(critic_weights, nx, nu),
        policy(policy_weights, low, high),
        reward(nx, nu, ends) {}

  Models models() const { return {&dynamics, &reward, &value, &policy}; }
  ProblemShape shape(int max_problems) const { return {nx, nu, low, high, max_problems}; }
};

/// A model step of 0.1 s, K 40, H 3; without the policy.
inline Bundle bundle_of(const SmallModels& nets) {
  Bundle bundle;
  bundle.task = "test";
  bundle.nx = nets.nx;
  bundle.nu = nets.nu;
  bundle.action_low = nets.low;
  bundle.action_high = nets.high;
  bundle.dt = 0.1;
  bundle.members = nets.member_weights;
  bundle.critics = nets.critic_weights;
  bundle.planner.rollouts = 40;
  bundle.planner.horizon = 3;
  return bundle;
}

inline std::string describe(const PlannerConfig& c, const ProblemShape& s, int problems) {
  const char* draws[] = {"per_step", "per_rollout_step", "per_rollout"};
  const char* modes[] = {"default", "mean_residual", "policy_residual"};
  return "B " + std::to_string(problems) + ", K " + std::to_string(c.rollouts) + ", H " +
         std::to_string(c.horizon) + ", nx " + std::to_string(s.nx) + ", nu " +
         std::to_string(s.nu) + ", iterations " + std::to_string(c.iterations) + ", " +
         (c.prior == Prior::gaussian ? "gaussian, " : "uniform, ") +
         modes[static_cast<int>(c.control_mode)] + ", " + draws[static_cast<int>(c.member_draw)] +
         (c.particles > 1 ? ", particles " + std::to_string(c.particles) : "") +
         (c.covariance.empty() ? "" : ", covariance") +
         (c.handle_terminations ? ", terminations" : "");
}

}  // namespace softmpc::testing
