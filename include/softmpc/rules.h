// SPDX-License-Identifier: Apache-2.0
// A formula written once, for CPU and device. Rules are a struct of host-device functions of one
// lane, with x, a and next indexable:
//   float reward(x, a, next), constexpr bool has_termination, bool terminated(next)   RuleReward
//   void step(x, a, next), which sets next[0..nx-1]                                   RuleDynamics
//   float value(x, a)                                                                 RuleValue
// All static; or const members of a type that is constructed from `const float*`, its parameters.
// A CPU runs them over a block of lanes; a device compiles their text, which SOFTMPC_RULES keeps:
//
//   SOFTMPC_RULES(kRestText, struct Rest {
//     static constexpr bool has_termination = false;
//     template <class X, class A, class Next>
//     SOFTMPC_HD static float reward(const X& x, const A& a, const Next&) {
//       return -x[0] * x[0] - 0.1f * a[0] * a[0];
//     }
//   };)
//   const softmpc::RuleReward<Rest> reward(kRestText);
//
// Own dynamics go with a learned terminal value, on CPU and device: of a bundle, whose members they
// replace, or of an MlpValue (network.h).
//
//   const softmpc::RuleDynamics<Robot> dynamics(kRobotText);
//   softmpc::Controller controller(bundle, &reward, {.dynamics = &dynamics, .device = device});
//   const softmpc::MlpValue critic(weights, nx, nu);
//   auto planner = softmpc::make_planner(config, shape, {&dynamics, &reward, &critic},
//                                        {.device = device});
#pragma once

#include <concepts>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "softmpc/error.h"
#include "softmpc/hd/math.h"
#include "softmpc/model.h"

/// Declares what follows the name, and keeps its text under that name. At global scope; a namespace
/// goes inside, preprocessor lines cannot. The text may use softmpc/hd/math.h.
#define SOFTMPC_RULES(name, ...) \
  __VA_ARGS__                    \
  inline constexpr char name[] = "#include \"softmpc/hd/math.h\"\n" #__VA_ARGS__ "\n";

// apart from all types: GCC names a type as seen from the function's namespace
namespace softmpc_type_names {

/// `T` as it is written in C++.
template <class T>
std::string of() {
  // GCC: "... [with T = softmpc::tasks::Lq; ...]", Clang: "... [T = softmpc::tasks::Lq]"
  const std::string_view text = __PRETTY_FUNCTION__;
  const std::size_t begin = text.find("T = ") + 4;
  return std::string(text.substr(begin, text.find_first_of(";]", begin) - begin));
}

}  // namespace softmpc_type_names

namespace softmpc {

template <class Rules>
concept RewardRules = requires(const Rules rules, ConstLane lane) {
  { rules.reward(lane, lane, lane) } -> std::convertible_to<float>;
  { Rules::has_termination } -> std::convertible_to<bool>;
};
template <class Rules>
concept DynamicsRules = requires(const Rules rules, ConstLane lane, Lane next) {
  rules.step(lane, lane, next);
};
template <class Rules>
concept ValueRules = requires(const Rules rules, ConstLane lane) {
  { rules.value(lane, lane) } -> std::convertible_to<float>;
};

namespace detail {

/// Rules, their text and their parameters.
template <class Rules>
class RuleSource {
 public:
  RuleSource(std::string text, std::vector<float> parameters)
      : device_{softmpc_type_names::of<Rules>(), std::move(text), std::move(parameters)} {
    if (device_.source.empty()) {
      device_.type.clear();
    } else if (device_.type.find("anonymous") != std::string::npos ||
               device_.type.find("()::") != std::string::npos) {
      throw UsageError("rules: '" + device_.type +
                       "' has no name that a device could use: declare it outside of functions "
                       "and anonymous namespaces");
    }
  }
  static constexpr bool takes_parameters = std::is_constructible_v<Rules, const float*>;
  static Rules rules(const float* parameters) {
    if constexpr (takes_parameters) {
      return Rules(parameters);
    } else {
      (void)parameters;
      return Rules();
    }
  }
  Rules rules() const { return rules(device_.parameters.data()); }
  const DeviceRules& device() const { return device_; }
  void set_parameters(std::span<const float> values) {
    if (values.size() != device_.parameters.size()) {
      throw UsageError("rules: " + std::to_string(values.size()) + " parameters, must be " +
                       std::to_string(device_.parameters.size()) + " as at first");
    }
    device_.parameters.assign(values.begin(), values.end());
  }

 private:
  DeviceRules device_;
};

}  // namespace detail

/// What RuleReward, RuleDynamics and RuleValue share.
template <class Rules, class Model>
class RuleModel : public Model {
 public:
  /// `text` defines `Rules` for a device; without it only a CPU plans with them. Throws UsageError
  /// if there is a text, but `Rules` has no name of its own.
  explicit RuleModel(std::string text = {}, std::vector<float> parameters = {})
      : source_(std::move(text), std::move(parameters)) {}

  DeviceRules device_rules() const override { return source_.device(); }
  /// Its own parameters: as many as before, not while a plan is made. A device takes them by
  /// Planner::update().
  void set_parameters(std::span<const float> values) { source_.set_parameters(values); }

 protected:
  using Source = detail::RuleSource<Rules>;
  const Source& source() const { return source_; }
  Rules rules() const { return source_.rules(); }

 private:
  Source source_;
};

/// r(x, a, x'), and where Rules::has_termination, whether x' ends the episode.
template <RewardRules Rules>
class RuleReward : public RuleModel<Rules, RewardModel> {
  using Base = RuleModel<Rules, RewardModel>;

 public:
  using Base::Base;

  void reward(ConstColumns x, ConstColumns a, ConstColumns next, int count,
              float* out) const override {
    reward_of(this->rules(), x, a, next, count, out);
  }
  bool has_termination() const override { return Rules::has_termination; }
  void terminated(ConstColumns next, int count, std::uint8_t* out) const override {
    terminated_of(this->rules(), next, count, out);
  }
  int parameter_count() const override {
    return Base::Source::takes_parameters
               ? static_cast<int>(this->source().device().parameters.size())
               : 0;
  }
  void reward_with(std::span<const float> parameters, ConstColumns x, ConstColumns a,
                   ConstColumns next, int count, float* out) const override {
    reward_of(Base::Source::rules(parameters.data()), x, a, next, count, out);
  }
  void terminated_with(std::span<const float> parameters, ConstColumns next, int count,
                       std::uint8_t* out) const override {
    terminated_of(Base::Source::rules(parameters.data()), next, count, out);
  }

 private:
  static void reward_of(const Rules& rules, ConstColumns x, ConstColumns a, ConstColumns next,
                        int count, float* out) {
    float* __restrict result = out;  // no alias checks, so that the loop vectorises
    for (int j = 0; j < count; ++j) result[j] = rules.reward(x.lane(j), a.lane(j), next.lane(j));
  }
  static void terminated_of(const Rules& rules, ConstColumns next, int count, std::uint8_t* out) {
    for (int j = 0; j < count; ++j) {
      if constexpr (Rules::has_termination) {
        out[j] = rules.terminated(next.lane(j)) ? 1 : 0;
      } else {
        out[j] = 0;
      }
    }
  }
};

/// x' = step(x, a): one member, which predicts neither reward nor termination.
template <DynamicsRules Rules>
class RuleDynamics : public RuleModel<Rules, DynamicsModel> {
 public:
  using RuleModel<Rules, DynamicsModel>::RuleModel;

  int members() const override { return 1; }
  std::size_t scratch_bytes(int) const override { return 0; }
  void step(int, ConstColumns x, ConstColumns a, int count, const StepResult& out,
            void*) const override {
    const Rules rules = this->rules();
    for (int j = 0; j < count; ++j) {
      Lane next = out.next.lane(j);
      rules.step(x.lane(j), a.lane(j), next);
    }
  }
};

/// Q(x, a).
template <ValueRules Rules>
class RuleValue : public RuleModel<Rules, TerminalValue> {
 public:
  using RuleModel<Rules, TerminalValue>::RuleModel;

  std::size_t scratch_bytes(int) const override { return 0; }
  void evaluate(ConstColumns x, ConstColumns a, int count, float* out, void*) const override {
    const Rules rules = this->rules();
    float* __restrict result = out;
    for (int j = 0; j < count; ++j) result[j] = rules.value(x.lane(j), a.lane(j));
  }
};

}  // namespace softmpc
