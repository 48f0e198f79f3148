// SPDX-License-Identifier: Apache-2.0
// Hopper in MuJoCo.
#include "hopper.h"

#include <algorithm>
#include <array>

#include "../embedded.h"
#include "../forward_task.h"
#include "../task_list.h"

namespace softmpc::tasks {
namespace {

class HopperTask final : public ForwardTask<Hopper<>> {
 public:
  HopperTask()
      : ForwardTask({.name = "Hopper",
                     .summary = "hop forward on one leg",
                     .mjcf = embedded_text("hopper/hopper.xml"),
                     .frame_skip = 4,
                     .position_option = true,
                     .has_termination = true,
                     .reset_noise = {.scale = 5e-3},
                     .best_return = 4151,
                     .rules = find_rules("Hopper"),
                     .hidden = 1,
                     .scene = {.traced = {{"torso"}, {"foot", {-0.065, 0, 0.1}}},
                               .tracked = "torso",
                               .centre = {0, 0, 0.75},
                               .distance = 2.8}},
                    10) {}

 private:
  bool healthy(const mjData& d) const override {
    std::array<mjtNum, Hopper<>::state_size> state{};  // from the angle on, not clipped
    std::copy_n(d.qpos + 2, 4, state.begin());
    std::copy_n(d.qvel, 6, state.begin() + 4);
    return Hopper<>::healthy(d.qpos[1], d.qpos[2], state);
  }
};

}  // namespace

const Task& hopper_task() {
  static const HopperTask task;
  return task;
}

}  // namespace softmpc::tasks
