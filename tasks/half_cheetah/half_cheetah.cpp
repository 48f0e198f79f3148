// SPDX-License-Identifier: Apache-2.0
// HalfCheetah in MuJoCo.
#include "half_cheetah.h"

#include "../embedded.h"
#include "../forward_task.h"
#include "../task_list.h"

namespace softmpc::tasks {

const Task& half_cheetah_task() {
  static const ForwardTask<HalfCheetah> task(
      {.name = "HalfCheetah",
       .summary = "run forward on two legs in the plane",
       .mjcf = embedded_text("half_cheetah/half_cheetah.xml"),
       .frame_skip = 5,
       .position_option = true,
       .reset_noise = {.scale = 0.1, .normal_velocity = true},
       .best_return = 17433,
       .rules = find_rules("HalfCheetah"),
       .hidden = 1,
       .scene = {.traced = {{"torso", {0.5, 0, 0}}, {"bfoot"}, {"ffoot"}},
                 .tracked = "torso",
                 .centre = {0, 0, 0.5},
                 .distance = 2.8}});
  return task;
}

}  // namespace softmpc::tasks
