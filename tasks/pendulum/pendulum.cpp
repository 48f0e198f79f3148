// SPDX-License-Identifier: Apache-2.0
// pendulum: the swing-up of a pendulum as a task.
#include "pendulum.h"

#include "../analytic_task.h"
#include "../task_list.h"

namespace softmpc::tasks {

const Task& pendulum_task() {
  static const AnalyticTask<Pendulum> task(find_rules("pendulum"));
  return task;
}

}  // namespace softmpc::tasks
