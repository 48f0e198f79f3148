// SPDX-License-Identifier: Apache-2.0
// lq: the double integrator as a task.
#include "lq.h"

#include "../analytic_task.h"
#include "../task_list.h"

namespace softmpc::tasks {

const Task& lq_task() {
  static const AnalyticTask<Lq> task(find_rules("lq"));
  return task;
}

}  // namespace softmpc::tasks
