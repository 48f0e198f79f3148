// SPDX-License-Identifier: Apache-2.0
// lq: the double integrator as a task.
#include "lq.h"

#include "../analytic_task.h"
#include "../embedded.h"
#include "../task_list.h"

namespace softmpc::tasks {

const Task& lq_task() {
  static const AnalyticTask<Lq> task(find_rules("lq"),
                                     {.mjcf = embedded_text("lq/drawing.xml"),
                                      .scene = {.traced = {{"cart", {0, 0, 0.07}}},
                                                .centre = {0, 0, 0.1},
                                                .distance = 2.8,
                                                .floor_height = -0.2,
                                                .square = 0.5}});
  return task;
}

}  // namespace softmpc::tasks
