// SPDX-License-Identifier: Apache-2.0
// Tasks: sizes, bounds, environment and what a rollout knows of reward and termination.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "softmpc/config.h"
#include "softmpc/environment.h"
#include "softmpc/error.h"
#include "softmpc/model.h"
#include "softmpc/renderer.h"

namespace softmpc {

/// Which variant of a task's environment.
struct TaskOptions {
  /// Root positions in the observation (the paper's variant; Ant then without contact forces).
  /// Tasks whose observation has no such option ignore it.
  bool positions = true;
  int time_limit = 0;  ///< steps until truncation; 0: the task's own limit
  /// Velocities (and forces) within +-10 in the observation, as Gymnasium has them. Tasks that do
  /// not clip ignore it.
  bool clip_velocities = true;
  /// Contact forces, and a humanoid's body inertias, body velocities and actuator forces, in the
  /// observation, as Gymnasium has them. Tasks that observe none ignore it.
  bool bodies = true;
  /// Simulator steps of one step(), to step more finely than control does; 0: the task's own. Tasks
  /// without a simulator ignore it.
  int substeps = 0;
};

/// The variant that a run's settings name.
inline TaskOptions task_options(const EnvironmentConfig& c) {
  return {c.positions, c.time_limit, c.clip_velocities, c.bodies, 0};
}

/// One variant of one task.
struct TaskSpec {
  std::string name;
  std::string summary;  ///< one line for people
  int nx = 0, nu = 0;
  std::vector<float> action_low, action_high;  ///< [nu], as in ProblemShape
  double dt = 0;                               ///< seconds per control step
  int time_limit = 0;                          ///< steps
  bool analytic_reward = true;       ///< false: the observation does not determine the reward
  bool analytic_termination = true;  ///< false: there is one, but only the simulator knows it
  bool has_termination = false;
  std::optional<double> best_return;  ///< highest published return, see tasks/README.md for source
};

/// A task of the registry. Objects live as long as the program.
class Task {
 public:
  virtual ~Task() = default;
  virtual TaskSpec spec(const TaskOptions& options) const = 0;
  /// spec().name, where possible without loading a model.
  virtual std::string name() const { return spec({}).name; }
  virtual std::unique_ptr<Environment> make_environment(const TaskOptions& options) const = 0;
  /// Reward and termination for rollouts; null where the reward must be learned.
  virtual std::unique_ptr<RewardModel> make_reward(const TaskOptions& options) const = 0;
  /// The termination alone (reward() gives NaN), for use with a learned reward; null where the task
  /// never terminates or make_reward() already has it.
  virtual std::unique_ptr<RewardModel> make_termination(const TaskOptions&) const {
    return nullptr;
  }
  /// The simulator itself as the dynamics model (an ablation); throws UsageError where the
  /// observation does not determine the simulator's state.
  virtual std::unique_ptr<DynamicsModel> make_dynamics(const TaskOptions& options) const = 0;
  /// Draws the task's environments. Throws Error where the task has no picture, or where this
  /// system cannot draw.
  virtual std::unique_ptr<Renderer> make_renderer(const TaskOptions&,
                                                  const RendererOptions&) const {
    throw Error(name() + ": this task has no picture");
  }
};

/// What a planner needs beside the dynamics: reward and termination, or the termination alone where
/// the reward is learned; null where neither is analytic.
inline std::unique_ptr<RewardModel> make_rollout_reward(const Task& task,
                                                        const TaskOptions& options) {
  auto reward = task.make_reward(options);
  return reward ? std::move(reward) : task.make_termination(options);
}

/// Names in listing order.
std::vector<std::string> task_names();
/// Throws UsageError that names the nearest known task.
const Task& find_task(std::string_view name);
/// Adds an out-of-tree task, listed after the built-in ones; it must live as long as the program.
/// Throws UsageError if the name is taken. Safe from any thread.
void register_task(const Task& task);
/// Text of a preset (JSON object of settings) for a task, e.g. "paper-gaussian". Throws UsageError.
std::string preset_text(std::string_view preset, std::string_view task);
std::vector<std::string> preset_names();

}  // namespace softmpc
