// SPDX-License-Identifier: Apache-2.0
// Walker2d in MuJoCo.
#include "walker2d.h"

#include "../embedded.h"
#include "../mujoco_task.h"
#include "../task_list.h"

namespace softmpc::tasks {
namespace {

class Walker2dTask final : public MujocoTask {
 public:
  Walker2dTask()
      : MujocoTask({.name = "Walker2d",
                    .summary = "walk forward on two legs in the plane",
                    .mjcf = embedded_text("walker2d/walker2d.xml"),
                    .frame_skip = 4,
                    .position_option = true,
                    .has_termination = true,
                    .reset_noise = {.scale = 5e-3},
                    .best_return = 10496}) {}

  void observe(const mjModel& m, const mjData& d, bool positions,
               ObservationWriter& out) const override {
    const int first = positions ? 0 : 1;
    out.add(d.qpos + first, static_cast<int>(m.nq) - first);
    out.add_clipped(d.qvel, static_cast<int>(m.nv), 10);
  }

  void remember(const mjModel&, const mjData& d, mjtNum* memory) const override {
    memory[0] = d.qpos[0];
  }

  Transition judge(const StepView& s) const override {
    const bool healthy = Walker2d<>::healthy(s.data.qpos[1], s.data.qpos[2]);
    const double velocity = (s.data.qpos[0] - s.before[0]) / s.dt;
    const double effort = squared_norm<Walker2d<>::action_size, double>(s.action);
    return {Walker2d<>::reward_terms(velocity, healthy, effort), !healthy};
  }

  std::unique_ptr<RewardModel> make_reward(const TaskOptions& options) const override {
    if (!options.positions) return nullptr;
    return std::make_unique<TaskReward<Walker2d<>>>(embedded_rules("walker2d/walker2d.h"));
  }

  std::unique_ptr<RewardModel> make_termination(const TaskOptions& options) const override {
    if (options.positions) return nullptr;
    return std::make_unique<TaskTermination<Walker2d<false>>>(
        embedded_rules("walker2d/walker2d.h"));
  }
};

}  // namespace

const Task& walker2d_task() {
  static const Walker2dTask task;
  return task;
}

}  // namespace softmpc::tasks
