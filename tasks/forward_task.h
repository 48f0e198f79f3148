// SPDX-License-Identifier: Apache-2.0
// Planar robots that are to move along x: what Hopper, Walker2d, HalfCheetah and Swimmer share.
#pragma once

#include "mujoco_task.h"

namespace softmpc::tasks {

/// Observes positions, then velocities. `Rules` has action_size, has_termination and
/// reward_terms(dx/dt, [healthy,] |a|^2).
template <class Rules>
class ForwardTask : public MujocoTask {
 public:
  /// `velocity_bound`: where observed velocities are clipped; 0: nowhere.
  explicit ForwardTask(MujocoFacts facts, double velocity_bound = 0)
      : MujocoTask(std::move(facts)), velocity_bound_(velocity_bound) {}

  void observe(const mjModel& m, const mjData& d, const TaskOptions& view,
               ObservationWriter& out) const override {
    const int first = view.positions ? 0 : facts().hidden;
    out.add(d.qpos + first, static_cast<int>(m.nq) - first);
    out.add_clipped(d.qvel, static_cast<int>(m.nv), view.clip_velocities ? velocity_bound_ : 0);
  }

  void remember(const mjModel&, const mjData& d, mjtNum* memory) const override {
    memory[0] = d.qpos[0];
  }

  Transition judge(const StepView& s) const override {
    const double velocity = (s.data.qpos[0] - s.before[0]) / s.dt;
    const double effort = squared_norm<Rules::action_size, double>(s.action);
    if constexpr (Rules::has_termination) {
      const bool good = healthy(s.data);
      return {Rules::reward_terms(velocity, good, effort), !good};
    } else {
      return {Rules::reward_terms(velocity, effort)};
    }
  }

 protected:
  /// Asked only where Rules::has_termination.
  virtual bool healthy(const mjData&) const { return true; }

 private:
  double velocity_bound_;
};

}  // namespace softmpc::tasks
