// SPDX-License-Identifier: Apache-2.0
// Swimmer in MuJoCo.
#include "swimmer.h"

#include "../embedded.h"
#include "../mujoco_task.h"
#include "../task_list.h"

namespace softmpc::tasks {
namespace {

class SwimmerTask final : public MujocoTask {
 public:
  SwimmerTask()
      : MujocoTask({.name = "Swimmer",
                    .summary = "swim forward with three links in a viscous fluid",
                    .mjcf = embedded_text("swimmer/swimmer.xml"),
                    .frame_skip = 4,
                    .position_option = true,
                    .reset_noise = {.scale = 0.1},
                    .best_return = 366}) {}

  void observe(const mjModel& m, const mjData& d, bool positions,
               ObservationWriter& out) const override {
    const int first = positions ? 0 : 2;
    out.add(d.qpos + first, static_cast<int>(m.nq) - first);
    out.add(d.qvel, static_cast<int>(m.nv));
  }

  void remember(const mjModel&, const mjData& d, mjtNum* memory) const override {
    memory[0] = d.qpos[0];
  }

  Transition judge(const StepView& s) const override {
    const double velocity = (s.data.qpos[0] - s.before[0]) / s.dt;
    const double effort = squared_norm<Swimmer::action_size, double>(s.action);
    return {Swimmer::reward_terms(velocity, effort)};
  }

  std::unique_ptr<RewardModel> make_reward(const TaskOptions& options) const override {
    if (!options.positions) return nullptr;
    return std::make_unique<TaskReward<Swimmer>>(embedded_rules("swimmer/swimmer.h"));
  }
};

}  // namespace

const Task& swimmer_task() {
  static const SwimmerTask task;
  return task;
}

}  // namespace softmpc::tasks
