// SPDX-License-Identifier: Apache-2.0
// Ant in MuJoCo.
#include "ant.h"

#include <algorithm>

#include "../embedded.h"
#include "../mujoco_task.h"
#include "../task_list.h"

namespace softmpc::tasks {
namespace {

constexpr int kTorso = 1;  // body

class AntTask final : public MujocoTask {
 public:
  AntTask()
      : MujocoTask({.name = "Ant",
                    .summary = "walk forward on four legs",
                    .mjcf = embedded_text("ant/ant.xml"),
                    .frame_skip = 5,
                    .position_option = true,
                    .has_termination = true,
                    .reset_noise = {.scale = 0.1, .normal_velocity = true},
                    .best_return = 8509,
                    .rules = find_rules("Ant"),
                    .hidden = 2,
                    .scene = {.traced = {{"torso"},
                                         {"aux_1", {0.2, 0.2, 0}},
                                         {"aux_2", {-0.2, 0.2, 0}},
                                         {"aux_3", {-0.2, -0.2, 0}},
                                         {"aux_4", {0.2, -0.2, 0}}},
                              .tracked = "torso",
                              .centre = {0, 0, 0.4},
                              .distance = 4,
                              .elevation = -25}}) {}

  // contact forces of the world body, the first, are not observed
  void observe(const mjModel& m, const mjData& d, const TaskOptions& view,
               ObservationWriter& out) const override {
    const int first = view.positions ? 0 : 2;
    out.add(d.qpos + first, static_cast<int>(m.nq) - first);
    out.add(d.qvel, static_cast<int>(m.nv));
    if (!view.positions && view.bodies)
      out.add_clipped(d.cfrc_ext + 6, 6 * (static_cast<int>(m.nbody) - 1), 1);
  }

  void remember(const mjModel&, const mjData& d, mjtNum* memory) const override {
    memory[0] = d.xpos[3 * kTorso];
  }

  Transition judge(const StepView& s) const override {
    // instability() has made sure that the state is finite
    const bool healthy = Ant<>::healthy<0>(s.data.qpos[2], s.data.qpos);
    const double velocity = (s.data.xpos[3 * kTorso] - s.before[0]) / s.dt;
    const double effort = squared_norm<Ant<>::action_size, double>(s.action);
    return {Ant<>::reward_terms(velocity, healthy, effort, s.positions ? 0.0 : contact_cost(s)),
            !healthy};
  }

 private:
  // 5e-4 |clip(contact forces, +-1)|^2
  static double contact_cost(const StepView& s) {
    double sum = 0;
    for (int i = 0; i < 6 * s.model.nbody; ++i) {
      const double force = std::clamp<double>(s.data.cfrc_ext[i], -1, 1);
      sum += force * force;
    }
    return 5e-4 * sum;
  }
};

}  // namespace

const Task& ant_task() {
  static const AntTask task;
  return task;
}

}  // namespace softmpc::tasks
