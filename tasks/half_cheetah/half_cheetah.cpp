// SPDX-License-Identifier: Apache-2.0
// HalfCheetah in MuJoCo.
#include "half_cheetah.h"

#include "../embedded.h"
#include "../mujoco_task.h"
#include "../task_list.h"

namespace softmpc::tasks {
namespace {

class HalfCheetahTask final : public MujocoTask {
 public:
  HalfCheetahTask()
      : MujocoTask({.name = "HalfCheetah",
                    .summary = "run forward on two legs in the plane",
                    .mjcf = embedded_text("half_cheetah/half_cheetah.xml"),
                    .frame_skip = 5,
                    .position_option = true,
                    .reset_noise = {.scale = 0.1, .normal_velocity = true},
                    .best_return = 17433}) {}

  void observe(const mjModel& m, const mjData& d, bool positions,
               ObservationWriter& out) const override {
    const int first = positions ? 0 : 1;
    out.add(d.qpos + first, static_cast<int>(m.nq) - first);
    out.add(d.qvel, static_cast<int>(m.nv));
  }

  void remember(const mjModel&, const mjData& d, mjtNum* memory) const override {
    memory[0] = d.qpos[0];
  }

  Transition judge(const StepView& s) const override {
    const double velocity = (s.data.qpos[0] - s.before[0]) / s.dt;
    const double effort = squared_norm<HalfCheetah::action_size, double>(s.action);
    return {HalfCheetah::reward_terms(velocity, effort)};
  }

  std::unique_ptr<RewardModel> make_reward(const TaskOptions& options) const override {
    if (!options.positions) return nullptr;
    return std::make_unique<TaskReward<HalfCheetah>>(embedded_rules("half_cheetah/half_cheetah.h"));
  }
};

}  // namespace

const Task& half_cheetah_task() {
  static const HalfCheetahTask task;
  return task;
}

}  // namespace softmpc::tasks
