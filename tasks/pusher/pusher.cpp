// SPDX-License-Identifier: Apache-2.0
// Pusher in MuJoCo.
#include "pusher.h"

#include <cmath>

#include "../embedded.h"
#include "../mujoco_task.h"
#include "../task_list.h"

namespace softmpc::tasks {
namespace {

constexpr int kTip = 10, kObject = 11, kGoal = 12;  // bodies

class PusherTask final : public MujocoTask {
 public:
  PusherTask()
      : MujocoTask({.name = "Pusher",
                    .summary = "push a cylinder to a goal with a seven-joint arm",
                    .mjcf = embedded_text("pusher/pusher.xml"),
                    .frame_skip = 5,
                    .time_limit = 100,
                    .hidden_state = "the velocities of object and goal are not observed",
                    .rules = find_rules("Pusher"),
                    .scene = {.traced = {{"tips_arm", {0.1, 0, 0}}, {"object"}},
                              .centre = {0.25, -0.2, -0.2},
                              .distance = 2.2,
                              .azimuth = 150,
                              .elevation = -35,
                              .square = 0.25}}) {}

  void observe(const mjModel&, const mjData& d, const TaskOptions&,
               ObservationWriter& out) const override {
    out.add(d.qpos, 7);
    out.add(d.qvel, 7);
    for (int body : {kTip, kObject, kGoal}) out.add(d.xpos + 3 * body, 3);
  }

  Transition judge(const StepView& s) const override {
    const mjtNum* object = s.data.xpos + 3 * kObject;
    return {Pusher::reward_terms(mju_dist3(object, s.data.xpos + 3 * kGoal),
                                 mju_dist3(object, s.data.xpos + 3 * kTip),
                                 squared_norm<Pusher::action_size, double>(s.action))};
  }

  // arm at rest pose, object uniform on [-0.3, 0] x [-0.2, 0.2] but 0.17 away from the goal
  void draw_start(const mjModel&, ResetRandom& random, double* positions,
                  double* velocities) const override {
    do {
      positions[7] = random.uniform(-0.3, 0);
      positions[8] = random.uniform(-0.2, 0.2);
    } while (std::hypot(positions[7], positions[8]) <= 0.17);
    for (int i = 0; i < 7; ++i) velocities[i] += random.uniform(-0.005, 0.005);
  }

  // object and goal are observed where they are, and slide along y, then x
  void follow_positions(const mjModel& m, const TaskOptions&, ConstLane, ConstLane after,
                        double* positions) const override {
    for (int i = 0; i < 7; ++i) positions[i] = after[i];
    int next = 7;
    for (int body : {kObject, kGoal})
      for (int axis : {1, 0}) {
        const int seen = 14 + 3 * (body - kTip) + axis;
        positions[next++] = after[seen] - m.body_pos[3 * body + axis];
      }
  }
};

}  // namespace

const Task& pusher_task() {
  static const PusherTask task;
  return task;
}

}  // namespace softmpc::tasks
