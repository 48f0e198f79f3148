// SPDX-License-Identifier: Apache-2.0
// Lanes of observations through the simulator.
#include "mujoco_dynamics.h"

#include <cmath>
#include <limits>

namespace softmpc::tasks {
namespace {

bool all_finite(ConstLane lane, int size) {
  for (int i = 0; i < size; ++i) {
    if (!std::isfinite(lane[i])) return false;
  }
  return true;
}

}  // namespace

MujocoDynamics::MujocoDynamics(const MujocoTask& task, const TaskOptions& options)
    : task_(task),
      model_(task.model()),
      view_(task.view(options)),
      nx_(task.observation_size(view_)) {}

void MujocoDynamics::step(int, ConstColumns x, ConstColumns a, int count, const StepResult& out,
                          void*) const {
  const MujocoScope quiet;
  std::unique_ptr<Worker> worker = borrow();
  for (int j = 0; j < count; ++j) {
    const bool good = step_lane(*worker, x.lane(j), a.lane(j));
    for (int i = 0; i < nx_; ++i) {
      out.next[i][j] = good ? static_cast<float>(worker->observation[static_cast<std::size_t>(i)])
                            : std::numeric_limits<float>::quiet_NaN();
    }
  }
  give_back(std::move(worker));
}

bool MujocoDynamics::step_lane(Worker& worker, ConstLane x, ConstLane a) const {
  const int nu = static_cast<int>(model_.nu);
  if (!all_finite(x, nx_) || !all_finite(a, nu)) return false;
  mjData* data = worker.data.get();
  mj_resetData(&model_, data);
  task_.recover_state(model_, x, data->qpos, data->qvel);
  for (int i = 0; i < nu; ++i) data->ctrl[i] = a[i];
  for (int i = 0; i < task_.facts().frame_skip; ++i) mj_step(&model_, data);
  mj_rnePostConstraint(&model_, data);
  if (!instability(model_, *data).empty()) return false;
  ObservationWriter writer(worker.observation.data());
  task_.observe(model_, *data, view_, writer);
  return true;
}

std::unique_ptr<MujocoDynamics::Worker> MujocoDynamics::borrow() const {
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      std::unique_ptr<Worker> worker = std::move(idle_.back());
      idle_.pop_back();
      return worker;
    }
  }
  auto worker = std::make_unique<Worker>();
  worker->data = make_data(model_);
  worker->observation.resize(static_cast<std::size_t>(nx_));
  return worker;
}

void MujocoDynamics::give_back(std::unique_ptr<Worker> worker) const {
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(worker));
}

}  // namespace softmpc::tasks
