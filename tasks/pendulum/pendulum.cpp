// SPDX-License-Identifier: Apache-2.0
// pendulum: the swing-up of a pendulum as a task.
#include "pendulum.h"

#include "../analytic_task.h"
#include "../embedded.h"
#include "../task_list.h"

namespace softmpc::tasks {

const Task& pendulum_task() {
  static const AnalyticTask<Pendulum> task(find_rules("pendulum"),
                                           {.mjcf = embedded_text("pendulum/drawing.xml"),
                                            .scene = {.traced = {{"rod", {0, -0.06, 1}}},
                                                      .distance = 3.4,
                                                      .elevation = -8,
                                                      .floor_height = -1.15,
                                                      .square = 0.5}});
  return task;
}

}  // namespace softmpc::tasks
