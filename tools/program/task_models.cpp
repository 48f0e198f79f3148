// SPDX-License-Identifier: Apache-2.0
#include "program/task_models.h"

#include "softmpc/error.h"
#include "softmpc/task.h"

namespace softmpc::tools {

std::unique_ptr<RewardModel> reward_of(const Bundle& bundle, const std::string& path) {
  const TaskOptions options = task_options(bundle.environment);
  try {
    const Task& task = find_task(bundle.task);
    if (!bundle.outputs.reward && !task.make_reward(options)) {
      throw Error(path + ": the reward of " + bundle.task + " is neither analytic nor learned");
    }
    return make_rollout_reward(task, options);
  } catch (const UsageError& error) {
    if (bundle.outputs.reward) return nullptr;
    throw Error(path + ": " + error.what());
  }
}

std::unique_ptr<DynamicsModel> dynamics_of(const Bundle& bundle, const std::string& path) {
  if (bundle.members.stack > 0) return nullptr;
  try {
    auto dynamics = find_task(bundle.task).make_dynamics(task_options(bundle.environment));
    if (dynamics) return dynamics;
  } catch (const UsageError& error) {
    throw Error(path + ": " + error.what());
  }
  throw Error(path + ": it plans with the environment, and " + bundle.task +
              " has no dynamics of its own");
}

}  // namespace softmpc::tools
