// SPDX-License-Identifier: Apache-2.0
// InvertedDoublePendulum in MuJoCo.
#include "inverted_double_pendulum.h"

#include <array>
#include <cmath>

#include "../embedded.h"
#include "../mujoco_task.h"
#include "../task_list.h"

namespace softmpc::tasks {
namespace {

class InvertedDoublePendulumTask final : public MujocoTask {
 public:
  InvertedDoublePendulumTask()
      : MujocoTask({.name = "InvertedDoublePendulum",
                    .summary = "balance two linked poles on a cart",
                    .mjcf = embedded_text("inverted_double_pendulum/inverted_double_pendulum.xml"),
                    .frame_skip = 5,
                    .has_termination = true,
                    .reset_noise = {.scale = 0.1, .normal_velocity = true},
                    .best_return = 9359.5,
                    .rules = find_rules("InvertedDoublePendulum"),
                    .scene = {.traced = {{"cart"}, {"pole2"}, {"pole2", {0, 0, 0.6}}},
                              .centre = {0, 0, 0.5},
                              .distance = 3,
                              .floor_height = -0.35,
                              .square = 0.5}}) {}

  void observe(const mjModel&, const mjData& d, const TaskOptions& view,
               ObservationWriter& out) const override {
    const double bound = view.clip_velocities ? 10 : 0;
    out.add(d.qpos[0]);
    for (int i : {1, 2}) out.add(std::sin(d.qpos[i]));
    for (int i : {1, 2}) out.add(std::cos(d.qpos[i]));
    out.add_clipped(d.qvel, 3, bound);
    out.add_clipped(d.qfrc_constraint, 1, bound);
  }

  Transition judge(const StepView& s) const override {
    const mjtNum* tip = s.data.site_xpos;
    return {InvertedDoublePendulum::reward_terms(tip[0], tip[2], s.data.qvel[1], s.data.qvel[2]),
            !InvertedDoublePendulum::healthy(tip[2])};
  }

  void recover_state(const mjModel&, ConstLane o, double* positions,
                     double* velocities) const override {
    using O = InvertedDoublePendulum;
    positions[0] = o[O::position];
    positions[1] = std::atan2(double{o[O::sine1]}, double{o[O::cosine1]});
    positions[2] = std::atan2(double{o[O::sine2]}, double{o[O::cosine2]});
    for (int i = 0; i < 3; ++i) velocities[i] = o[O::velocity + i];
  }

  void follow_positions(const mjModel& m, const TaskOptions&, ConstLane, ConstLane after,
                        double* positions) const override {
    std::array<double, 3> velocities{};
    recover_state(m, after, positions, velocities.data());
  }
};

}  // namespace

const Task& inverted_double_pendulum_task() {
  static const InvertedDoublePendulumTask task;
  return task;
}

}  // namespace softmpc::tasks
