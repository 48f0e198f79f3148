// SPDX-License-Identifier: Apache-2.0
// The tasks, one line each, in listing order. A line `TASK(hopper)` stands for the function
// `const Task& hopper_task()` of tasks/hopper/hopper.cpp.
#pragma once

#include "softmpc/task.h"

#define SOFTMPC_TASKS(TASK)      \
  TASK(inverted_pendulum)        \
  TASK(inverted_double_pendulum) \
  TASK(reacher)                  \
  TASK(pusher)                   \
  TASK(swimmer)                  \
  TASK(hopper)                   \
  TASK(half_cheetah)             \
  TASK(walker2d)                 \
  TASK(ant)                      \
  TASK(humanoid)                 \
  TASK(humanoid_standup)         \
  TASK(lq)                       \
  TASK(pendulum)

namespace softmpc::tasks {

#define SOFTMPC_DECLARE_TASK(folder) const Task& folder##_task();
SOFTMPC_TASKS(SOFTMPC_DECLARE_TASK)
#undef SOFTMPC_DECLARE_TASK

}  // namespace softmpc::tasks
