// SPDX-License-Identifier: Apache-2.0
#include "user_models.h"

#include "softmpc/task_rules.h"

namespace softmpc::c {
namespace {

[[noreturn]] void unsupported(const std::string& text) {
  throw Failure(SOFTMPC_ERROR_UNSUPPORTED, text);
}

bool has_analytic_reward(const Bundle& b) {
  return has_task_rules(b.task) && make_task_reward(b.task, b.environment) != nullptr;
}

}  // namespace

void check_bundle_for(const softmpc_options& given, const Bundle& b) {
  const bool nets = given.step == nullptr;
  if (nets && b.members.stack == 0)
    unsupported("the bundle of " + b.task +
                " has no dynamics, it was trained on the environment's own: options.step must give "
                "them");
  const bool predicts_reward = nets && b.outputs.reward;
  if (predicts_reward && given.reward != nullptr)
    unsupported(
        "options.reward: the bundle's nets predict the reward, and a callback cannot take "
        "its place");
  if (nets && b.outputs.termination && given.terminated != nullptr)
    unsupported(
        "options.terminated: the bundle's nets predict the termination, and a callback "
        "cannot take its place");
  if (predicts_reward || given.reward != nullptr || has_analytic_reward(b)) return;
  unsupported("the bundle of " + b.task +
              (has_task_rules(b.task) ? ", without positions," : ", which is no built-in task,") +
              " needs a reward: learned in training (model.reward) or given as options.reward");
}

UserModels::UserModels(const softmpc_options& given, const Bundle& bundle) {
  check_bundle_for(given, bundle);
  reward = make_rollout_reward(bundle);
  if (given.reward != nullptr || given.terminated != nullptr)
    reward = std::make_unique<UserReward>(given, std::move(reward));
  if (given.step != nullptr) dynamics = std::make_unique<UserDynamics>(given);
  if (given.value != nullptr) value = std::make_unique<UserValue>(given);
}

}  // namespace softmpc::c
