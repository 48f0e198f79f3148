// SPDX-License-Identifier: Apache-2.0
// Reward and termination of a task's rollouts, in the variants of its observation. No simulator.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "rules.h"
#include "softmpc/rules.h"
#include "softmpc/task.h"

namespace softmpc::tasks {

/// What a rollout knows of reward and termination.
struct RolloutRules {
  bool has_reward = false;  ///< else the reward must be learned; termination alone, if anything
  std::unique_ptr<RewardModel> (*make)(std::string text) = nullptr;
  int nx = 0, nu = 0;  ///< entries that they read of state and action
};

/// Stands for a lane, and counts the entries that are read.
struct CountingLane {
  int& entries;
  float operator[](int i) const {
    entries = std::max(entries, i + 1);
    return 0;
  }
};

/// Reward, and termination where `Rules` has one.
template <class Rules>
RolloutRules rewarded_by() {
  RolloutRules rules = {true, [](std::string text) -> std::unique_ptr<RewardModel> {
                          return std::make_unique<RuleReward<Rules>>(std::move(text));
                        }};
  const CountingLane x{rules.nx}, a{rules.nu};
  (void)Rules::reward(x, a, x);
  if constexpr (Rules::has_termination) (void)Rules::terminated(x);
  return rules;
}
/// The termination of `Rules` alone.
template <class Rules>
RolloutRules ended_by() {
  RolloutRules rules = rewarded_by<TerminationOnly<Rules>>();
  rules.has_reward = false;
  return rules;
}

struct TaskRules {
  /// Text of the header that defines the rules, for devices; must outlive this. Without it only a
  /// CPU plans with them.
  std::string_view header = {};
  RolloutRules rules = {};                             ///< of the observation
  std::optional<RolloutRules> without_positions = {};  ///< where not the same
  bool read_bodies = false;  ///< and so there are none without TaskOptions.bodies

  /// Those of a variant of the observation; of none `make` is null.
  RolloutRules of(const TaskOptions& view) const;
  /// As Task::make_reward() and make_termination().
  std::unique_ptr<RewardModel> make_reward(const TaskOptions& view) const;
  std::unique_ptr<RewardModel> make_termination(const TaskOptions& view) const;
};

/// Of a built-in task. Throws UsageError that names the nearest.
const TaskRules& find_rules(std::string_view task);

}  // namespace softmpc::tasks
