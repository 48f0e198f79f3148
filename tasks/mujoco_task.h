// SPDX-License-Identifier: Apache-2.0
// A task simulated by MuJoCo with Gymnasium's step semantics. A task derives from MujocoTask, says
// what is observed, rewarded and drawn at the start, and inherits environment, specification and
// the simulator as a dynamics model.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "mujoco_model.h"
#include "render/scene.h"
#include "reset_random.h"
#include "rollout_rules.h"
#include "softmpc/task.h"
#include "softmpc/types.h"

namespace softmpc::tasks {

/// Noise around qpos0 and zero velocity at an episode's start.
struct ResetNoise {
  double scale = 0;              ///< positions: uniform on (-scale, scale)
  bool normal_velocity = false;  ///< velocities: N(0, scale^2) instead of uniform
};

struct MujocoFacts {
  std::string name;
  std::string summary;
  std::string_view mjcf;         ///< model text; must outlive the task
  int frame_skip = 1;            ///< simulator steps per control step
  int time_limit = 1000;         ///< control steps
  bool position_option = false;  ///< TaskOptions.positions adds entries to the observation
  bool has_termination = false;
  ResetNoise reset_noise = {};
  /// Why the simulator cannot be a rollout's model: what the observation (with positions) does not
  /// determine. Empty where it determines positions, velocities and reward.
  std::string hidden_state = {};
  std::optional<double> best_return = {};
  TaskRules rules = {};  ///< of a built-in task: find_rules("Hopper")
  int hidden = 0;        ///< positions at the front that are left out without TaskOptions.positions
  SceneFacts scene = {};
};

/// Collects an observation; without a buffer it only counts.
class ObservationWriter {
 public:
  explicit ObservationWriter(double* out) : out_(out) {}
  void add(double value) {
    if (out_ != nullptr) out_[size_] = value;
    ++size_;
  }
  void add(const mjtNum* values, int count) {
    for (int i = 0; i < count; ++i) add(values[i]);
  }
  /// Within +-bound; 0: as they are.
  void add_clipped(const mjtNum* values, int count, double bound);
  int size() const { return size_; }

 private:
  double* out_;
  int size_ = 0;
};

/// What a task may judge a control step by.
struct StepView {
  const mjModel& model;
  const mjData& data;             ///< after the step
  const mjtNum* before;           ///< what remember() wrote before the step
  std::span<const float> action;  ///< [nu] as given
  double dt;                      ///< seconds
  bool positions;                 ///< TaskOptions.positions
};

class MujocoTask : public Task {
 public:
  static constexpr int kMemory = 2;

  explicit MujocoTask(MujocoFacts facts) : facts_(std::move(facts)) {}

  std::string name() const final { return facts_.name; }
  /// Simulator steps of one step().
  int frame_skip(const TaskOptions& options) const {
    return options.substeps > 0 ? options.substeps : facts_.frame_skip;
  }
  TaskSpec spec(const TaskOptions& options) const final;
  std::unique_ptr<Environment> make_environment(const TaskOptions& options) const final;
  std::unique_ptr<DynamicsModel> make_dynamics(const TaskOptions& options) const final;
  std::unique_ptr<RewardModel> make_reward(const TaskOptions& options) const override;
  std::unique_ptr<RewardModel> make_termination(const TaskOptions& options) const override;
  std::unique_ptr<Renderer> make_renderer(const TaskOptions& options,
                                          const RendererOptions& wanted) const final;

  /// What is observed of `data` under `view`, whose `positions` is false where there is no choice.
  virtual void observe(const mjModel& model, const mjData& data, const TaskOptions& view,
                       ObservationWriter& out) const = 0;
  /// Quantities from before a step that its reward needs: memory [kMemory].
  virtual void remember(const mjModel& model, const mjData& data, mjtNum* memory) const;
  /// Reward and termination; truncation is the environment's matter.
  virtual Transition judge(const StepView& step) const = 0;
  /// Adds the start noise to positions [nq] (qpos0) and velocities [nv] (zero).
  virtual void draw_start(const mjModel& model, ResetRandom& random, double* positions,
                          double* velocities) const;
  /// Inverse of observe(), up to clipped velocities; only where facts().hidden_state is empty.
  virtual void recover_state(const mjModel& model, ConstLane observation, double* positions,
                             double* velocities) const;
  /// The positions that an observation shows, from those of the step before. Unless a task says
  /// otherwise it observes positions, but for the hidden ones, then velocities, and a hidden
  /// position moves by the mean of its velocities before and after.
  virtual void follow_positions(const mjModel& model, const TaskOptions& view, ConstLane before,
                                ConstLane after, double* positions) const;

  const MujocoFacts& facts() const { return facts_; }
  /// `options` as this task can heed them.
  TaskOptions view(TaskOptions options) const {
    options.positions = options.positions && facts_.position_option;
    return options;
  }
  /// Compiled on first use, then shared by all environments of the process.
  const mjModel& model() const;
  int observation_size(const TaskOptions& view) const;

 private:
  MujocoFacts facts_;
  mutable std::once_flag once_;
  mutable ModelPointer model_;
};

}  // namespace softmpc::tasks
