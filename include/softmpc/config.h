// SPDX-License-Identifier: Apache-2.0
// Every setting, with its default in place. Rules and help texts stand in src/config_fields.h, the
// one list that serves JSON, --set, --help and validation. Keys are `planner.rollouts` and so on.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "softmpc/types.h"

namespace softmpc {

enum class Loss { mse, huber, gaussian_nll };
enum class Pattern { online, model_per_episode, episodic };
enum class Acting { planner, policy };
enum class TargetSource { planner, policy };
enum class PolicyObjective { critic, rollout };
enum class ModelSource { learned, environment };
enum class Learned { automatic, never, always };
enum class Normalisation { none, running };
enum class OnWarning { go_on, stop, recover };
enum class LearnerKind { automatic, fused, torch };

/// The online planner. Symbols as in DESIGN: K, H, lambda, Sigma.
struct PlannerConfig {
  int rollouts = 200;                    ///< K
  int horizon = 4;                       ///< H, model steps
  int iterations = 1;                    ///< plan updates per solve
  double temperature = 0.1;              ///< lambda
  std::vector<double> variance = {0.1};  ///< diagonal of Sigma; one value serves all actions
  /// Sigma [nu, nu] by rows, symmetric and positive definite; rows and columns of fixed actions are
  /// zero. Takes the place of `variance`; empty: Sigma is diagonal
  std::vector<std::vector<double>> covariance;
  std::vector<double> neutral;  ///< n, one value serves all actions; empty: by the box
  double gamma = 0.99;          ///< discount, of the Bellman target too
  Prior prior = Prior::gaussian;
  ControlMode control_mode = ControlMode::plain;
  MemberDraw member_draw = MemberDraw::per_step;
  /// What rollouts are about: the given plan, or half of them about the policy's plan.
  Proposals proposals = Proposals::plan;
  int particles = 1;  ///< P, rollouts of one action sequence, each through a member of its own
  bool handle_terminations = false;
  /// c, taken from the reward of a step that ends the episode, in plans and targets alone. At gamma
  /// an end costs at most what 1 / (1 - gamma) steps earn, so that a dash into a fall may gain.
  double termination_cost = 0;
  Precision precision = Precision::float32;
  bool operator==(const PlannerConfig&) const = default;
};

/// The planner that makes the critic's targets; what is not here is taken from the online planner.
struct TargetsConfig {
  int horizon = 0;         ///< no longer than the online planner's; 0: planner.horizon
  double temperature = 0;  ///< of the soft value and so of Q; 0: planner.temperature
  int rollouts = 20;
  int iterations = 1;
  int particles = 0;       ///< 0: planner.particles
  bool warm_start = true;  ///< start from the stored plan and write back
  TargetSource source = TargetSource::planner;
  bool operator==(const TargetsConfig&) const = default;
};

struct ModelConfig {
  ModelSource source = ModelSource::learned;
  int members = 4;  ///< E
  int width = 256;
  int layers = 2;           ///< hidden layers
  bool layer_norm = false;  ///< LayerNorm of hidden layers
  double learning_rate = 3e-4;
  int batch_size = 32;
  int updates_per_step = 1;
  Loss loss = Loss::mse;
  double huber_delta = 1.0;
  Learned reward = Learned::automatic;  ///< automatic: learned where no analytic one exists
  Learned termination = Learned::automatic;
  Normalisation normalisation = Normalisation::none;
  bool operator==(const ModelConfig&) const = default;
};

struct CriticConfig {
  int count = 1;  ///< several: the target is the minimum of their values
  int width = 256;
  int layers = 2;
  bool layer_norm = false;
  double learning_rate = 3e-4;
  int batch_size = 32;
  int updates_per_step = 1;
  Loss loss = Loss::mse;
  double huber_delta = 1.0;
  double tau = 0.005;       ///< Polyak rate of the target critic
  int target_interval = 2;  ///< critic updates between Polyak updates
  /// Steps of the policy's rollouts through the members that the critics learn too; 0: none.
  int imagined_steps = 0;
  Normalisation normalisation = Normalisation::none;
  bool operator==(const CriticConfig&) const = default;
};

/// Used where planner.proposals or planner.control_mode has a policy, and where targets.source or
/// trainer.acting is policy.
struct PolicyConfig {
  PolicyObjective objective = PolicyObjective::critic;
  int width = 256;
  int layers = 2;
  double learning_rate = 3e-4;
  int update_interval = 2;  ///< critic updates between policy updates
  double tau = 0.005;
  double exploration = 0.1;  ///< std of the noise, in half-ranges (acting = policy)
  bool operator==(const PolicyConfig&) const = default;
};

struct TrainerConfig {
  int envs = 1;  ///< environments stepped side by side; updates count per environment step
  std::int64_t steps = 50000;  ///< environment steps
  std::uint64_t seed = 1;
  Pattern pattern = Pattern::online;
  Acting acting = Acting::planner;
  std::int64_t random_steps = 0;           ///< steps at the start with uniform actions
  double final_noise = 1;                  ///< of final_planner(), in parts of the training's
  int final_iterations = 0;                ///< of final_planner(); 0: planner.iterations
  int learning_starts = 2;                 ///< transitions in the replay before the first update
  std::int64_t replay_capacity = 1000000;  ///< transitions
  std::int64_t log_interval = 1000;        ///< steps between "train" lines
  std::int64_t eval_interval = 0;          ///< steps between evaluations; 0: none
  int eval_episodes = 5;
  std::int64_t checkpoint_interval = 5000;  ///< steps; a checkpoint is also written at the end
  int threads = 0;                          ///< 0: all cores
  Device device = Device::cpu;
  OnWarning on_warning = OnWarning::go_on;       ///< where a "train" line has one
  LearnerKind learner = LearnerKind::automatic;  ///< who computes gradients (models/learner.h)
  bool operator==(const TrainerConfig&) const = default;
};

struct EnvironmentConfig {
  bool positions = true;        ///< root positions in the observation
  bool clip_velocities = true;  ///< observed velocities within +-10 where Gymnasium has them so
  bool bodies = true;           ///< forces, inertias and velocities of bodies in the observation
  int time_limit = 0;           ///< 0: the task's own
  bool operator==(const EnvironmentConfig&) const = default;
};

struct Config {
  PlannerConfig planner;
  TargetsConfig targets;
  ModelConfig model;
  CriticConfig critic;
  PolicyConfig policy;
  TrainerConfig trainer;
  EnvironmentConfig environment;
  bool operator==(const Config&) const = default;
};

/// The planner of the critic's targets: the online one but for what `targets` says.
PlannerConfig target_planner(const Config& config);
/// The planner of evaluations and of the bundle: the online one with trainer.final_noise times its
/// Sigma and lambda, and so the same price of departing from the prior, and with
/// trainer.final_iterations.
PlannerConfig final_planner(const Config& config);
/// Whether plans are made with a policy.
bool plans_with_policy(const PlannerConfig& config);
/// Whether there is a policy to train.
bool has_policy(const Config& config);

/// One row of `softmpc train --help-settings` and of the documentation.
struct SettingInfo {
  std::string key;    ///< "planner.rollouts"
  std::string type;   ///< "integer", "number", "true or false", "one of a, b", ...
  std::string value;  ///< default, as JSON
  std::string rule;   ///< "1..1048576"
  std::string help;
};
std::vector<SettingInfo> setting_list();

/// Applies a JSON object of settings, nested ({"planner": {"rollouts": 300}}) or dotted
/// ({"planner.rollouts": 300}). Throws UsageError naming key, value and rule; `where` names the
/// source of the text. On an error `config` is unchanged.
void apply_settings(Config& config, std::string_view json, const std::string& where);
/// Applies one "key.path=value"; value is JSON, or a bare word for names.
void apply_setting(Config& config, std::string_view assignment);
/// All settings as nested JSON; apply_settings of it gives an equal Config.
std::string to_json(const Config& config, int indent = 2);
/// Checks the rules that join several settings and, for values set in code, the rules of each.
/// Throws UsageError naming key, value and rule.
void validate(const Config& config);

}  // namespace softmpc
