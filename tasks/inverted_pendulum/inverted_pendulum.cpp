// SPDX-License-Identifier: Apache-2.0
// InvertedPendulum in MuJoCo.
#include "inverted_pendulum.h"

#include "../embedded.h"
#include "../mujoco_task.h"
#include "../task_list.h"

namespace softmpc::tasks {
namespace {

class InvertedPendulumTask final : public MujocoTask {
 public:
  InvertedPendulumTask()
      : MujocoTask({.name = "InvertedPendulum",
                    .summary = "balance a pole on a cart",
                    .mjcf = embedded_text("inverted_pendulum/inverted_pendulum.xml"),
                    .frame_skip = 2,
                    .has_termination = true,
                    .reset_noise = {.scale = 0.01},
                    .best_return = 1000,
                    .rules = find_rules("InvertedPendulum"),
                    .scene = {.traced = {{"cart"}, {"pole", {0, 0, 0.6}}},
                              .centre = {0, 0, 0.25},
                              .distance = 2.4,
                              .floor_height = -0.35,
                              .square = 0.5}}) {}

  void observe(const mjModel& m, const mjData& d, const TaskOptions&,
               ObservationWriter& out) const override {
    out.add(d.qpos, static_cast<int>(m.nq));
    out.add(d.qvel, static_cast<int>(m.nv));
  }

  Transition judge(const StepView& s) const override {
    const bool healthy = InvertedPendulum::healthy(s.data.qpos[1]);
    return {InvertedPendulum::reward_terms<double>(healthy), !healthy};
  }
};

}  // namespace

const Task& inverted_pendulum_task() {
  static const InvertedPendulumTask task;
  return task;
}

}  // namespace softmpc::tasks
