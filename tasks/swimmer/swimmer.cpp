// SPDX-License-Identifier: Apache-2.0
// Swimmer in MuJoCo.
#include "swimmer.h"

#include "../embedded.h"
#include "../forward_task.h"
#include "../task_list.h"

namespace softmpc::tasks {

const Task& swimmer_task() {
  static const ForwardTask<Swimmer> task(
      {.name = "Swimmer",
       .summary = "swim forward with three links in a viscous fluid",
       .mjcf = embedded_text("swimmer/swimmer.xml"),
       .frame_skip = 4,
       .position_option = true,
       .reset_noise = {.scale = 0.1},
       .best_return = 366,
       .rules = find_rules("Swimmer"),
       .hidden = 2,
       .scene = {.traced = {{"torso", {1.5, 0, 0}}, {"back", {-1, 0, 0}}},
                 .tracked = "mid",
                 .distance = 5.5,
                 .elevation = -55}});
  return task;
}

}  // namespace softmpc::tasks
