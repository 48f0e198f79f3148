// SPDX-License-Identifier: Apache-2.0
// A task's rules as a RewardModel: run over a block of lanes here, as text on a device.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "rules.h"
#include "softmpc/model.h"

// apart from all types: GCC names a type as seen from the function's namespace
namespace softmpc::type_names {

/// `T` as it is written in C++.
template <class T>
std::string of() {
  // GCC: "... [with T = softmpc::tasks::Lq; ...]", Clang: "... [T = softmpc::tasks::Lq]"
  const std::string_view text = __PRETTY_FUNCTION__;
  const std::size_t begin = text.find("T = ") + 4;
  return std::string(text.substr(begin, text.find_first_of(";]", begin) - begin));
}

}  // namespace softmpc::type_names

namespace softmpc::tasks {

/// A task's rules as a RewardModel. `Rules` has static host-device functions
///   float reward(x, a, next)   and, where `has_termination`,   bool terminated(next).
template <class Rules>
class TaskReward final : public RewardModel {
 public:
  /// `source` is the text that defines `Rules` (rules_text() of its header); without it only a CPU
  /// can plan with them.
  explicit TaskReward(std::string source = {}) : source_(std::move(source)) {}

  void reward(ConstColumns x, ConstColumns a, ConstColumns next, int count,
              float* out) const override {
    float* __restrict result = out;  // no alias checks, so that the loop vectorises
    for (int j = 0; j < count; ++j) result[j] = Rules::reward(x.lane(j), a.lane(j), next.lane(j));
  }
  bool has_termination() const override { return Rules::has_termination; }
  void terminated(ConstColumns next, int count, std::uint8_t* out) const override {
    for (int j = 0; j < count; ++j) {
      if constexpr (Rules::has_termination) {
        out[j] = Rules::terminated(next.lane(j)) ? 1 : 0;
      } else {
        out[j] = 0;
      }
    }
  }
  DeviceRules device_rules() const override {
    if (source_.empty()) return {};
    return {type_names::of<Rules>(), source_, {}};
  }

 private:
  std::string source_;
};

/// The termination alone, for tasks whose reward is learned.
template <class Rules>
using TaskTermination = TaskReward<TerminationOnly<Rules>>;

}  // namespace softmpc::tasks
