// SPDX-License-Identifier: Apache-2.0
// What settings have to do with each other: derived planners, and combinations that are refused.
#include "config_rules.h"

#include <string>

#include "softmpc/error.h"

namespace softmpc {
namespace {

/// `section` has the rollouts, `source` says how many particles they are.
void check_particles(const PlannerConfig& c, const std::string& section,
                     const std::string& source) {
  if (c.particles == 1) return;
  const std::string shown = source + ".particles: " + std::to_string(c.particles);
  if (c.rollouts % c.particles != 0)
    throw UsageError(shown + " does not divide " + section + ".rollouts, " +
                     std::to_string(c.rollouts));
  if (c.member_draw == MemberDraw::per_step)
    throw UsageError(shown + " needs planner.member_draw per_rollout or per_rollout_step: with " +
                     "per_step all particles follow one model");
}

/// A solve in two parts; each has half of the rollouts.
void check_proposals(const PlannerConfig& c, const std::string& section) {
  if (c.proposals == Proposals::plan) return;
  if (c.control_mode == ControlMode::policy_residual)
    throw UsageError(
        "planner.proposals: plan_and_policy does not fit planner.control_mode policy_residual, "
        "whose plans are relative to the policy");
  if (c.rollouts % (2 * c.particles) != 0)
    throw UsageError("planner.proposals: plan_and_policy needs " + section +
                     ".rollouts in two equal halves of whole particles, and they are " +
                     std::to_string(c.rollouts));
}

/// Rows for the critics come from rollouts of the policy.
void check_imagined(const Config& config) {
  const int steps = config.critic.imagined_steps, horizon = target_planner(config).horizon;
  const std::string found = "critic.imagined_steps: " + std::to_string(steps);
  if (steps > horizon)
    throw UsageError(found + " is more than the targets' horizon, " + std::to_string(horizon));
  if (steps > 0 && !(has_policy(config) && config.policy.objective == PolicyObjective::rollout))
    throw UsageError(found +
                     " needs the rollouts of a policy: planner.proposals plan_and_policy and "
                     "policy.objective rollout; without one use 0");
}

}  // namespace

bool plans_with_policy(const PlannerConfig& config) {
  return config.control_mode == ControlMode::policy_residual ||
         config.proposals == Proposals::plan_and_policy;
}

bool has_policy(const Config& config) {
  return plans_with_policy(config.planner) || config.targets.source == TargetSource::policy ||
         config.trainer.acting == Acting::policy;
}

PlannerConfig target_planner(const Config& config) {
  PlannerConfig p = config.planner;
  if (config.targets.horizon > 0) p.horizon = config.targets.horizon;
  if (config.targets.temperature > 0) p.temperature = config.targets.temperature;
  p.rollouts = config.targets.rollouts;
  p.iterations = config.targets.iterations;
  if (config.targets.particles > 0) p.particles = config.targets.particles;
  return p;
}

PlannerConfig final_planner(const Config& config) {
  PlannerConfig p = config.planner;
  if (config.trainer.final_iterations > 0) p.iterations = config.trainer.final_iterations;
  const double noise = config.trainer.final_noise;
  p.temperature *= noise;
  for (double& v : p.variance) v *= noise;
  for (auto& row : p.covariance)
    for (double& v : row) v *= noise;
  return p;
}

void validate(const Config& config) {
  check_field_rules(config);
  const auto require = [](bool holds, const char* message) {
    if (!holds) throw UsageError(message);
  };
  const bool learned = config.model.source == ModelSource::learned;
  require(learned || config.model.reward != Learned::always,
          "model.reward: always needs model.source learned, and it is environment");
  require(learned || config.model.termination != Learned::always,
          "model.termination: always needs model.source learned, and it is environment");
  require(learned || config.trainer.pattern != Pattern::model_per_episode,
          "trainer.pattern: model_per_episode needs model.source learned, and it is environment");
  require(config.planner.handle_terminations || config.model.termination != Learned::always,
          "model.termination: always needs planner.handle_terminations true, and it is false");
  require(config.planner.handle_terminations || config.planner.termination_cost == 0,
          "planner.termination_cost: needs planner.handle_terminations true, and it is false");
  check_particles(config.planner, "planner", "planner");
  check_particles(target_planner(config), "targets",
                  config.targets.particles > 0 ? "targets" : "planner");
  check_proposals(config.planner, "planner");
  check_proposals(target_planner(config), "targets");
  require(learned || !has_policy(config) || config.policy.objective != PolicyObjective::rollout,
          "policy.objective: rollout needs model.source learned, and it is environment");
  check_imagined(config);
  Config finished = config;  // whose bundle must be loadable
  finished.planner = final_planner(config);
  check_field_rules(finished, "trainer.final_noise: makes ", " too small");
  if (config.targets.horizon > config.planner.horizon)
    throw UsageError("targets.horizon: " + std::to_string(config.targets.horizon) +
                     " is more than planner.horizon, " + std::to_string(config.planner.horizon) +
                     ", whose plans are stored");
  require(config.trainer.learning_starts <= config.trainer.replay_capacity,
          "trainer.learning_starts: is larger than trainer.replay_capacity, so learning would "
          "never start");
}

}  // namespace softmpc
