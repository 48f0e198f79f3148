// SPDX-License-Identifier: Apache-2.0
// Rewards and terminations of the built-in tasks, without their simulators (softmpc::rules, a part
// of the core's package). A robot that plays what was trained on one of them needs no more:
//
//   const softmpc::Bundle bundle = softmpc::load_bundle("model.safetensors");
//   const auto reward = softmpc::make_rollout_reward(bundle);
//   softmpc::Controller controller(bundle, reward.get());
//
// All functions may be called from any thread.
#pragma once

#include <memory>
#include <string_view>

#include "softmpc/bundle.h"
#include "softmpc/config.h"
#include "softmpc/model.h"

namespace softmpc {

/// Whether `task` is built in.
bool has_task_rules(std::string_view task);

/// Reward, and termination where there is one, for rollouts on the CPU or a device; null where the
/// observation of this variant does not determine the reward, which must be learned then. Throws
/// UsageError that names the nearest task if `task` is not built in.
std::unique_ptr<RewardModel> make_task_reward(std::string_view task,
                                              const EnvironmentConfig& variant);

/// The termination alone (its reward() gives NaN), for nets that predict the reward; null where the
/// task never ends, or make_task_reward() has it. Throws as make_task_reward().
std::unique_ptr<RewardModel> make_task_termination(std::string_view task,
                                                   const EnvironmentConfig& variant);

/// What a Controller of `bundle` needs beside it: reward and termination of its task, or the
/// termination alone where the reward is learned; null where the task is not built in, or neither
/// is known. Throws Error where the task's rules read more entries than the bundle has.
std::unique_ptr<RewardModel> make_rollout_reward(const Bundle& bundle);

}  // namespace softmpc
