// SPDX-License-Identifier: Apache-2.0
// Hopper in MuJoCo.
#include "hopper.h"

#include <algorithm>
#include <array>

#include "../embedded.h"
#include "../mujoco_task.h"
#include "../task_list.h"

namespace softmpc::tasks {
namespace {

class HopperTask final : public MujocoTask {
 public:
  HopperTask()
      : MujocoTask({.name = "Hopper",
                    .summary = "hop forward on one leg",
                    .mjcf = embedded_text("hopper/hopper.xml"),
                    .frame_skip = 4,
                    .position_option = true,
                    .has_termination = true,
                    .reset_noise = {.scale = 5e-3},
                    .best_return = 4151}) {}

  void observe(const mjModel& m, const mjData& d, bool positions,
               ObservationWriter& out) const override {
    const int first = positions ? 0 : 1;
    out.add(d.qpos + first, static_cast<int>(m.nq) - first);
    out.add_clipped(d.qvel, static_cast<int>(m.nv), 10);
  }

  void remember(const mjModel&, const mjData& d, mjtNum* memory) const override {
    memory[0] = d.qpos[0];
  }

  Transition judge(const StepView& s) const override {
    std::array<mjtNum, Hopper<>::state_size> state{};  // from the angle on, not clipped
    std::copy_n(s.data.qpos + 2, 4, state.begin());
    std::copy_n(s.data.qvel, 6, state.begin() + 4);
    const bool healthy = Hopper<>::healthy(s.data.qpos[1], s.data.qpos[2], state);
    const double velocity = (s.data.qpos[0] - s.before[0]) / s.dt;
    const double effort = squared_norm<Hopper<>::action_size, double>(s.action);
    return {Hopper<>::reward_terms(velocity, healthy, effort), !healthy};
  }

  std::unique_ptr<RewardModel> make_reward(const TaskOptions& options) const override {
    if (!options.positions) return nullptr;
    return std::make_unique<TaskReward<Hopper<>>>(embedded_rules("hopper/hopper.h"));
  }

  std::unique_ptr<RewardModel> make_termination(const TaskOptions& options) const override {
    if (options.positions) return nullptr;
    return std::make_unique<TaskTermination<Hopper<false>>>(embedded_rules("hopper/hopper.h"));
  }
};

}  // namespace

const Task& hopper_task() {
  static const HopperTask task;
  return task;
}

}  // namespace softmpc::tasks
