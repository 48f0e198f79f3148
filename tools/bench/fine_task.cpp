// SPDX-License-Identifier: Apache-2.0
#include "bench/fine_task.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "program/task_models.h"
#include "softmpc/error.h"
#include "softmpc/task.h"

namespace softmpc::tools {

FineTask::FineTask(const std::string& path)
    : bundle(load_bundle(path)),
      reward_(reward_of(bundle, path)),
      dynamics_(dynamics_of(bundle, path)) {
  if (bundle.policy && bundle.acting == Acting::policy)
    throw Error(path + ": its policy acts, and not a controller");
  const Task& task = find_task(bundle.task);
  TaskOptions fine = task_options(bundle.environment);
  const TaskSpec coarse = task.spec(fine);
  fine.substeps = 1;
  substeps = static_cast<int>(std::lround(coarse.dt / task.spec(fine).dt));
  if (substeps < 2)
    throw UsageError("bench: a model step of " + coarse.name +
                     " is one step of its simulator, so no tick can be shorter");
  fine.time_limit = coarse.time_limit * substeps;
  environment_ = task.make_environment(fine);
  observation.resize(static_cast<std::size_t>(bundle.nx));
  rest = neutral_action(bundle.planner,
                        {bundle.nx, bundle.nu, bundle.action_low, bundle.action_high, 1});
}

Controller FineTask::make_controller(ControllerOptions options) const {
  options.dynamics = dynamics_.get();
  options.state_margin = std::numeric_limits<double>::infinity();
  return Controller(bundle, reward_.get(), std::move(options));
}

Nanoseconds FineTask::at(std::int64_t step) const {
  return Nanoseconds(std::llround(static_cast<double>(step) * bundle.dt / substeps * 1e9));
}

void FineTask::reset(std::uint64_t seed) { environment_->reset(seed, observation); }

Transition FineTask::step(std::span<const float> action) {
  Transition t = environment_->step(action, observation);
  t.reward /= substeps;
  return t;
}

}  // namespace softmpc::tools
