// SPDX-License-Identifier: Apache-2.0
// Walker2d in MuJoCo.
#include "walker2d.h"

#include "../embedded.h"
#include "../forward_task.h"
#include "../task_list.h"

namespace softmpc::tasks {
namespace {

class Walker2dTask final : public ForwardTask<Walker2d<>> {
 public:
  Walker2dTask()
      : ForwardTask({.name = "Walker2d",
                     .summary = "walk forward on two legs in the plane",
                     .mjcf = embedded_text("walker2d/walker2d.xml"),
                     .frame_skip = 4,
                     .position_option = true,
                     .has_termination = true,
                     .reset_noise = {.scale = 5e-3},
                     .best_return = 10496,
                     .rules = find_rules("Walker2d"),
                     .hidden = 1,
                     .scene = {.traced = {{"torso"}, {"foot"}, {"foot_left"}},
                               .tracked = "torso",
                               .centre = {0, 0, 0.75},
                               .distance = 2.9}},
                    10) {}

 private:
  bool healthy(const mjData& d) const override { return Walker2d<>::healthy(d.qpos[1], d.qpos[2]); }
};

}  // namespace

const Task& walker2d_task() {
  static const Walker2dTask task;
  return task;
}

}  // namespace softmpc::tasks
