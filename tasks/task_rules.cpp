// SPDX-License-Identifier: Apache-2.0
// Rules of the built-in tasks. Their simulators ask here, too: no rules are named twice.
#include "softmpc/task_rules.h"

#include <vector>

#include "ant/ant.h"
#include "half_cheetah/half_cheetah.h"
#include "hopper/hopper.h"
#include "humanoid/humanoid.h"
#include "humanoid_standup/humanoid_standup.h"
#include "inverted_double_pendulum/inverted_double_pendulum.h"
#include "inverted_pendulum/inverted_pendulum.h"
#include "lq/lq.h"
#include "nearest.h"
#include "pendulum/pendulum.h"
#include "pusher/pusher.h"
#include "reacher/reacher.h"
#include "rollout_rules.h"
#include "rules_text.h"
#include "softmpc/error.h"
#include "swimmer/swimmer.h"
#include "walker2d/walker2d.h"

namespace softmpc::tasks {
namespace {

struct Row {
  std::string name;
  TaskRules rules;
};

std::string_view header(const std::string& folder) {
  return rules_header(folder + "/" + folder + ".h");
}

const std::vector<Row>& rows() {
  static const std::vector<Row> all = {
      {"InvertedPendulum", {header("inverted_pendulum"), rewarded_by<InvertedPendulum>()}},
      {"InvertedDoublePendulum",
       {header("inverted_double_pendulum"), rewarded_by<InvertedDoublePendulum>()}},
      {"Reacher", {header("reacher"), rewarded_by<Reacher>()}},
      {"Pusher", {header("pusher"), rewarded_by<Pusher>()}},
      {"Swimmer", {header("swimmer"), rewarded_by<Swimmer>(), RolloutRules{}}},
      {"Hopper", {header("hopper"), rewarded_by<Hopper<>>(), ended_by<Hopper<false>>()}},
      {"HalfCheetah", {header("half_cheetah"), rewarded_by<HalfCheetah>(), RolloutRules{}}},
      {"Walker2d", {header("walker2d"), rewarded_by<Walker2d<>>(), ended_by<Walker2d<false>>()}},
      {"Ant", {header("ant"), rewarded_by<Ant<>>(), ended_by<Ant<false>>()}},
      {"Humanoid", {header("humanoid"), ended_by<Humanoid<true>>(), ended_by<Humanoid<false>>()}},
      {"HumanoidStandup",
       {.header = header("humanoid_standup"),
        .rules = rewarded_by<HumanoidStandup<true>>(),
        .without_positions = rewarded_by<HumanoidStandup<false>>(),
        .read_bodies = true}},
      {"lq", {header("lq"), rewarded_by<Lq>()}},
      {"pendulum", {header("pendulum"), rewarded_by<Pendulum>()}}};
  return all;
}

const TaskRules* known_rules(std::string_view task) {
  for (const Row& row : rows())
    if (row.name == task) return &row.rules;
  return nullptr;
}

std::unique_ptr<RewardModel> make(const TaskRules& task, const TaskOptions& view, bool reward) {
  const RolloutRules rules = task.of(view);
  if (rules.make == nullptr || rules.has_reward != reward) return nullptr;
  return rules.make(task.header.empty() ? "" : rules_text(task.header));
}

}  // namespace

RolloutRules TaskRules::of(const TaskOptions& view) const {
  if (read_bodies && !view.bodies) return {};
  return without_positions && !view.positions ? *without_positions : rules;
}

std::unique_ptr<RewardModel> TaskRules::make_reward(const TaskOptions& view) const {
  return make(*this, view, true);
}

std::unique_ptr<RewardModel> TaskRules::make_termination(const TaskOptions& view) const {
  return make(*this, view, false);
}

const TaskRules& find_rules(std::string_view task) {
  if (const TaskRules* known = known_rules(task)) return *known;
  std::vector<std::string> names;
  for (const Row& row : rows()) names.push_back(row.name);
  throw UsageError("task '" + std::string(task) + "' is not built in, nearest is '" +
                   nearest_name(task, names) + "'");
}

}  // namespace softmpc::tasks

namespace softmpc {

bool has_task_rules(std::string_view task) { return tasks::known_rules(task) != nullptr; }

std::unique_ptr<RewardModel> make_task_reward(std::string_view task,
                                              const EnvironmentConfig& variant) {
  return tasks::find_rules(task).make_reward(task_options(variant));
}

std::unique_ptr<RewardModel> make_task_termination(std::string_view task,
                                                   const EnvironmentConfig& variant) {
  return tasks::find_rules(task).make_termination(task_options(variant));
}

std::unique_ptr<RewardModel> make_rollout_reward(const Bundle& bundle) {
  const tasks::TaskRules* known = tasks::known_rules(bundle.task);
  if (known == nullptr) return nullptr;
  const TaskOptions view = task_options(bundle.environment);
  const tasks::RolloutRules rules = known->of(view);
  if (bundle.nx < rules.nx || bundle.nu < rules.nu)
    throw Error("the rules of " + bundle.task + " read nx " + std::to_string(rules.nx) + ", nu " +
                std::to_string(rules.nu) + "; the bundle has nx " + std::to_string(bundle.nx) +
                ", nu " + std::to_string(bundle.nu));
  auto reward = known->make_reward(view);
  return reward ? std::move(reward) : known->make_termination(view);
}

}  // namespace softmpc
