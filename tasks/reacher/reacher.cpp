// SPDX-License-Identifier: Apache-2.0
// Reacher in MuJoCo.
#include "reacher.h"

#include <array>
#include <cmath>

#include "../embedded.h"
#include "../mujoco_task.h"
#include "../task_list.h"

namespace softmpc::tasks {
namespace {

constexpr int kFingertip = 3, kTarget = 4;  // bodies

class ReacherTask final : public MujocoTask {
 public:
  ReacherTask()
      : MujocoTask(
            {.name = "Reacher",
             .summary = "bring a planar arm's fingertip to a random target",
             .mjcf = embedded_text("reacher/reacher.xml"),
             .frame_skip = 2,
             .time_limit = 50,
             .best_return = -2.6,
             .rules = find_rules("Reacher"),
             .scene = {
                 .traced = {{"fingertip"}}, .distance = 0.95, .elevation = -75, .square = 0.1}}) {}

  void observe(const mjModel&, const mjData& d, const TaskOptions&,
               ObservationWriter& out) const override {
    for (int i : {0, 1}) out.add(std::cos(d.qpos[i]));
    for (int i : {0, 1}) out.add(std::sin(d.qpos[i]));
    out.add(d.qpos + 2, 2);
    out.add(d.qvel, 2);
    for (int i : {0, 1}) out.add(d.xpos[3 * kFingertip + i] - d.xpos[3 * kTarget + i]);
  }

  Transition judge(const StepView& s) const override {
    const double distance = mju_dist3(s.data.xpos + 3 * kFingertip, s.data.xpos + 3 * kTarget);
    return {Reacher::reward_terms(distance, squared_norm<Reacher::action_size, double>(s.action))};
  }

  // arm: uniform; target: uniform on the disc of radius 0.2, at rest
  void draw_start(const mjModel&, ResetRandom& random, double* positions,
                  double* velocities) const override {
    for (int i : {0, 1}) positions[i] += random.uniform(-0.1, 0.1);
    for (int i : {0, 1}) velocities[i] += random.uniform(-0.005, 0.005);
    do {
      positions[2] = random.uniform(-0.2, 0.2);
      positions[3] = random.uniform(-0.2, 0.2);
    } while (std::hypot(positions[2], positions[3]) >= 0.2);
  }

  void recover_state(const mjModel&, ConstLane o, double* positions,
                     double* velocities) const override {
    positions[0] = std::atan2(double{o[Reacher::sine0]}, double{o[Reacher::cosine0]});
    positions[1] = std::atan2(double{o[Reacher::sine1]}, double{o[Reacher::cosine1]});
    positions[2] = o[Reacher::target_x];
    positions[3] = o[Reacher::target_y];
    velocities[0] = o[Reacher::velocity0];
    velocities[1] = o[Reacher::velocity1];
  }

  void follow_positions(const mjModel& m, const TaskOptions&, ConstLane, ConstLane after,
                        double* positions) const override {
    std::array<double, 4> velocities{};
    recover_state(m, after, positions, velocities.data());
  }
};

}  // namespace

const Task& reacher_task() {
  static const ReacherTask task;
  return task;
}

}  // namespace softmpc::tasks
