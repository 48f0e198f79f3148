// SPDX-License-Identifier: Apache-2.0
// pendulum: the swing-up of a pendulum as a task.
#include "pendulum.h"

#include "../analytic_task.h"
#include "../embedded.h"
#include "../task_list.h"

namespace softmpc::tasks {

const Task& pendulum_task() {
  static const AnalyticTask<Pendulum> task(embedded_rules("pendulum/pendulum.h"));
  return task;
}

}  // namespace softmpc::tasks
