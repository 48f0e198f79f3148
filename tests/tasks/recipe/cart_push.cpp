// SPDX-License-Identifier: Apache-2.0
// CartPush in MuJoCo.
#include "cart_push.h"

#include "cart_push_files.h"
#include "tasks/mujoco_task.h"

namespace softmpc::tasks {
namespace {

class CartPushTask final : public MujocoTask {
 public:
  CartPushTask()
      : MujocoTask({.name = "CartPush",
                    .summary = "hold a cart in the middle of its rail",
                    .mjcf = cart_push_files()[0].text,
                    .frame_skip = 2,
                    .time_limit = 100,
                    .has_termination = true,
                    .reset_noise = {.scale = 0.05},
                    .rules = {cart_push_files()[1].text, rewarded_by<CartPush>()}}) {}

  void observe(const mjModel& m, const mjData& d, const TaskOptions&,
               ObservationWriter& out) const override {
    out.add(d.qpos, static_cast<int>(m.nq));
    out.add(d.qvel, static_cast<int>(m.nv));
  }

  Transition judge(const StepView& s) const override {
    const double x = s.data.qpos[0];
    const double effort = squared_norm<CartPush::action_size, double>(s.action);
    return {CartPush::reward_terms(x, effort), !CartPush::healthy(x)};
  }
};

}  // namespace

const Task& cart_push_task() {
  static const CartPushTask task;
  return task;
}

}  // namespace softmpc::tasks
