// SPDX-License-Identifier: Apache-2.0
// Specification, start noise and factories that MuJoCo tasks share.
#include "mujoco_task.h"

#include <algorithm>
#include <limits>

#include "mujoco_dynamics.h"
#include "mujoco_env.h"
#include "render/mujoco_renderer.h"
#include "softmpc/error.h"

namespace softmpc::tasks {

void ObservationWriter::add_clipped(const mjtNum* values, int count, double bound) {
  for (int i = 0; i < count; ++i)
    add(bound > 0 ? std::clamp<double>(values[i], -bound, bound) : values[i]);
}

const mjModel& MujocoTask::model() const {
  std::call_once(once_, [this] { model_ = parse_model(facts_.name, facts_.mjcf); });
  return *model_;
}

int MujocoTask::observation_size(const TaskOptions& view) const {
  const mjModel& m = model();
  ObservationWriter counter(nullptr);
  observe(m, *make_data(m), view, counter);
  return counter.size();
}

TaskSpec MujocoTask::spec(const TaskOptions& options) const {
  const mjModel& m = model();
  TaskSpec spec;
  spec.name = facts_.name;
  spec.summary = facts_.summary;
  spec.nx = observation_size(view(options));
  spec.nu = static_cast<int>(m.nu);
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (int i = 0; i < spec.nu; ++i) {
    const bool limited = m.actuator_ctrllimited[i] != 0;  // the range of the others is 0 0
    const mjtNum* range = m.actuator_ctrlrange + 2 * i;
    spec.action_low.push_back(limited ? static_cast<float>(range[0]) : -kInfinity);
    spec.action_high.push_back(limited ? static_cast<float>(range[1]) : kInfinity);
  }
  spec.dt = m.opt.timestep * frame_skip(options);
  spec.time_limit = options.time_limit > 0 ? options.time_limit : facts_.time_limit;
  spec.analytic_reward = make_reward(options) != nullptr;
  spec.has_termination = facts_.has_termination;
  spec.best_return = facts_.best_return;
  return spec;
}

std::unique_ptr<Environment> MujocoTask::make_environment(const TaskOptions& options) const {
  return std::make_unique<MujocoEnvironment>(*this, options);
}

std::unique_ptr<DynamicsModel> MujocoTask::make_dynamics(const TaskOptions& options) const {
  std::string reason = facts_.hidden_state;
  if (reason.empty() && facts_.position_option && !options.positions) {
    reason = "without environment.positions the observation lacks the root position";
  }
  if (!reason.empty()) {
    throw UsageError(facts_.name + ": the simulator cannot be the dynamics model: " + reason);
  }
  return std::make_unique<MujocoDynamics>(*this, options);
}

std::unique_ptr<RewardModel> MujocoTask::make_reward(const TaskOptions& options) const {
  return facts_.rules.make_reward(view(options));
}

std::unique_ptr<RewardModel> MujocoTask::make_termination(const TaskOptions& options) const {
  return facts_.rules.make_termination(view(options));
}

std::unique_ptr<Renderer> MujocoTask::make_renderer(const TaskOptions& options,
                                                    const RendererOptions& wanted) const {
  const TaskOptions seen = view(options);
  const bool adds_up = facts_.position_option && !seen.positions && facts_.hidden > 0;
  return make_mujoco_renderer(facts_.name, facts_.mjcf, facts_.scene,
                              {adds_up,
                               [this, seen](ConstLane before, ConstLane after, double* positions) {
                                 follow_positions(model(), seen, before, after, positions);
                               }},
                              wanted);
}

void MujocoTask::follow_positions(const mjModel& m, const TaskOptions& view, ConstLane before,
                                  ConstLane after, double* positions) const {
  const int hidden = facts_.position_option && !view.positions ? facts_.hidden : 0;
  const int shown = static_cast<int>(m.nq) - hidden;
  const double dt = m.opt.timestep * frame_skip(view);
  for (int i = 0; i < hidden; ++i)
    positions[i] += 0.5 * dt * (double{before[shown + i]} + after[shown + i]);
  for (int i = 0; i < shown; ++i) positions[hidden + i] = after[i];
}

void MujocoTask::remember(const mjModel&, const mjData&, mjtNum* memory) const {
  std::fill_n(memory, kMemory, 0.0);
}

void MujocoTask::draw_start(const mjModel& model, ResetRandom& random, double* positions,
                            double* velocities) const {
  const double scale = facts_.reset_noise.scale;
  for (int i = 0; i < model.nq; ++i) positions[i] += random.uniform(-scale, scale);
  for (int i = 0; i < model.nv; ++i) {
    velocities[i] += facts_.reset_noise.normal_velocity ? scale * random.normal()
                                                        : random.uniform(-scale, scale);
  }
}

void MujocoTask::recover_state(const mjModel& model, ConstLane observation, double* positions,
                               double* velocities) const {
  const int nq = static_cast<int>(model.nq);
  for (int i = 0; i < nq; ++i) positions[i] = observation[i];
  for (int i = 0; i < model.nv; ++i) velocities[i] = observation[nq + i];
}

}  // namespace softmpc::tasks
