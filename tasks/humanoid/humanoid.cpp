// SPDX-License-Identifier: Apache-2.0
// Humanoid in MuJoCo.
#include "humanoid.h"

#include "../embedded.h"
#include "../mujoco_task.h"
#include "../task_list.h"
#include "humanoid_observation.h"

namespace softmpc::tasks {
namespace {

// x of the centre of mass
double centre_of_mass(const mjModel& m, const mjData& d) {
  double moment = 0, mass = 0;
  for (int i = 0; i < m.nbody; ++i) {
    moment += m.body_mass[i] * d.xipos[3 * i];
    mass += m.body_mass[i];
  }
  return moment / mass;
}

class HumanoidTask final : public MujocoTask {
 public:
  HumanoidTask()
      : MujocoTask(
            {.name = "Humanoid",
             .summary = "walk forward as a humanoid",
             .mjcf = embedded_text("humanoid/humanoid.xml"),
             .frame_skip = 5,
             .position_option = true,
             .has_termination = true,
             .reset_noise = {.scale = 0.01},
             .hidden_state = "the observation lacks the centre of mass, so the reward is unknown",
             .best_return = 11704,
             .rules = find_rules("Humanoid"),
             .hidden = 2,
             .scene = {.traced = {{"torso"}, {"right_foot"}, {"left_foot"}},
                       .tracked = "torso",
                       .centre = {0, 0, 0.85},
                       .distance = 3.6,
                       .azimuth = 125}}) {}

  void observe(const mjModel& m, const mjData& d, const TaskOptions& view,
               ObservationWriter& out) const override {
    observe_humanoid(m, d, view, out);
  }

  void remember(const mjModel& m, const mjData& d, mjtNum* memory) const override {
    memory[0] = centre_of_mass(m, d);
  }

  Transition judge(const StepView& s) const override {
    const bool healthy = Humanoid<>::healthy(s.data.qpos[2]);
    const double velocity = (centre_of_mass(s.model, s.data) - s.before[0]) / s.dt;
    const double effort = squared_norm<Humanoid<>::action_size, double>(s.action);
    return {Humanoid<>::reward_terms(velocity, healthy, effort, contact_squared(s.model, s.data)),
            !healthy};
  }
};

}  // namespace

const Task& humanoid_task() {
  static const HumanoidTask task;
  return task;
}

}  // namespace softmpc::tasks
