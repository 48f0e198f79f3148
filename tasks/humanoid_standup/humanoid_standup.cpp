// SPDX-License-Identifier: Apache-2.0
// HumanoidStandup in MuJoCo.
#include "humanoid_standup.h"

#include "../embedded.h"
#include "../humanoid/humanoid_observation.h"
#include "../mujoco_task.h"
#include "../task_list.h"

namespace softmpc::tasks {
namespace {

class HumanoidStandupTask final : public MujocoTask {
 public:
  HumanoidStandupTask()
      : MujocoTask({.name = "HumanoidStandup",
                    .summary = "stand up from lying on the back",
                    .mjcf = embedded_text("humanoid_standup/humanoid_standup.xml"),
                    .frame_skip = 5,
                    .position_option = true,
                    .reset_noise = {.scale = 0.01},
                    .rules = find_rules("HumanoidStandup"),
                    .hidden = 2,
                    .scene = {.traced = {{"torso"}, {"right_foot"}, {"left_foot"}},
                              .tracked = "torso",
                              .centre = {0, 0, 0.6},
                              .distance = 3.6,
                              .azimuth = 125}}) {}

  void observe(const mjModel& m, const mjData& d, const TaskOptions& view,
               ObservationWriter& out) const override {
    observe_humanoid(m, d, view, out);
  }

  Transition judge(const StepView& s) const override {
    const double effort = squared_norm<HumanoidStandup<>::action_size, double>(s.action);
    return {
        HumanoidStandup<>::reward_terms(s.data.qpos[2], effort, contact_squared(s.model, s.data))};
  }
};

}  // namespace

const Task& humanoid_standup_task() {
  static const HumanoidStandupTask task;
  return task;
}

}  // namespace softmpc::tasks
