// SPDX-License-Identifier: Apache-2.0
// Stepping of a MuJoCo task, and its state as bytes.
#include "mujoco_env.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "softmpc/error.h"
#include "state_bytes.h"

namespace softmpc::tasks {

MujocoEnvironment::MujocoEnvironment(const MujocoTask& task, const TaskOptions& options)
    : task_(task),
      model_(task.model()),
      data_(make_data(model_)),
      view_(task.view(options)),
      observation_size_(task.observation_size(view_)),
      time_limit_(options.time_limit > 0 ? options.time_limit : task.facts().time_limit),
      frame_skip_(task.frame_skip(options)),
      dt_(model_.opt.timestep * frame_skip_) {}

void MujocoEnvironment::reset(std::uint64_t seed, std::span<double> observation) {
  std::vector<double> positions(model_.qpos0, model_.qpos0 + model_.nq);
  std::vector<double> velocities(static_cast<std::size_t>(model_.nv), 0.0);
  ResetRandom random(seed);
  task_.draw_start(model_, random, positions.data(), velocities.data());
  start(positions.data(), velocities.data(), observation);
}

void MujocoEnvironment::reset_to(std::span<const double> positions,
                                 std::span<const double> velocities,
                                 std::span<double> observation) {
  check_size("start positions", positions.size(), static_cast<std::size_t>(model_.nq));
  check_size("start velocities", velocities.size(), static_cast<std::size_t>(model_.nv));
  const auto finite = [](double value) { return std::isfinite(value); };
  if (!std::ranges::all_of(positions, finite) || !std::ranges::all_of(velocities, finite)) {
    throw Error(task_.facts().name + ": start state holds NaN or infinity");
  }
  start(positions.data(), velocities.data(), observation);
}

void MujocoEnvironment::start(const double* positions, const double* velocities,
                              std::span<double> observation) {
  const MujocoScope quiet;
  mj_resetData(&model_, data_.get());
  std::copy_n(positions, model_.nq, data_->qpos);
  std::copy_n(velocities, model_.nv, data_->qvel);
  mj_forward(&model_, data_.get());
  steps_ = 0;
  task_.remember(model_, *data_, before_.data());
  write_observation(observation);
}

void MujocoEnvironment::read_state(std::vector<double>& positions,
                                   std::vector<double>& velocities) const {
  positions.assign(data_->qpos, data_->qpos + model_.nq);
  velocities.assign(data_->qvel, data_->qvel + model_.nv);
}

Transition MujocoEnvironment::step(std::span<const float> action, std::span<double> observation) {
  check_action(action);
  if (steps_ < 0) throw Error(task_.facts().name + ": step() before the first reset()");
  const MujocoScope quiet;
  std::ranges::copy(action, data_->ctrl);
  for (int i = 0; i < frame_skip_; ++i) mj_step(&model_, data_.get());
  mj_rnePostConstraint(&model_, data_.get());
  ++steps_;
  if (const std::string what = instability(model_, *data_); !what.empty()) {
    throw Error(task_.facts().name + ": simulation became unstable at step " +
                std::to_string(steps_) + ": " + what);
  }
  Transition result = task_.judge({model_, *data_, before_.data(), action, dt_, view_.positions});
  result.truncated = steps_ >= time_limit_;
  task_.remember(model_, *data_, before_.data());
  write_observation(observation);
  return result;
}

void MujocoEnvironment::check_action(std::span<const float> action) const {
  check_size("action", action.size(), static_cast<std::size_t>(model_.nu));
  for (std::size_t i = 0; i < action.size(); ++i) {
    if (!std::isfinite(action[i])) {
      throw Error(task_.facts().name + ": action[" + std::to_string(i) + "] is " +
                  std::to_string(action[i]) + ", must be finite");
    }
  }
}

void MujocoEnvironment::check_size(const char* what, std::size_t size, std::size_t expected) const {
  if (size == expected) return;
  throw Error(task_.facts().name + ": " + what + " has size " + std::to_string(size) +
              ", must have " + std::to_string(expected));
}

void MujocoEnvironment::write_observation(std::span<double> observation) const {
  check_size("observation", observation.size(), static_cast<std::size_t>(observation_size_));
  ObservationWriter writer(observation.data());
  task_.observe(model_, *data_, view_, writer);
}

std::uint64_t MujocoEnvironment::fingerprint() const {
  StateHash hash;
  hash.add(task_.facts().name);
  hash.add(task_.facts().mjcf);
  hash.add_value(view_.positions);
  // nothing where it is as ever, so that older states stay readable
  if (!view_.clip_velocities) hash.add("velocities not clipped");
  if (!view_.bodies) hash.add("no body entries");
  hash.add_value(mj_version());
  return hash.value();
}

std::vector<std::byte> MujocoEnvironment::save() const {
  StateWriter out(fingerprint());
  out.add_value(steps_);
  out.add(before_.data(), before_.size());
  std::vector<mjtNum> state(static_cast<std::size_t>(mj_stateSize(&model_, mjSTATE_INTEGRATION)));
  mj_getState(&model_, data_.get(), state.data(), mjSTATE_INTEGRATION);
  out.add(state.data(), state.size());
  return out.finish();
}

void MujocoEnvironment::load(std::span<const std::byte> bytes) {
  StateReader in(bytes, fingerprint(), task_.facts().name);
  const auto steps = in.value<std::int64_t>();
  decltype(before_) before;
  in.read(before.data(), before.size());
  std::vector<mjtNum> state(static_cast<std::size_t>(mj_stateSize(&model_, mjSTATE_INTEGRATION)));
  in.read(state.data(), state.size());
  in.finish();
  const MujocoScope quiet;
  mj_resetData(&model_, data_.get());
  // no mj_forward: it would replace the solver's warm start
  mj_setState(&model_, data_.get(), state.data(), mjSTATE_INTEGRATION);
  steps_ = steps;
  before_ = before;
}

}  // namespace softmpc::tasks
