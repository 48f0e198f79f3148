// SPDX-License-Identifier: Apache-2.0
#include "control/thread_settings.h"

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

#include <cerrno>
#include <system_error>

namespace softmpc {
namespace {

int set_priority(std::thread& thread, int priority) {
  sched_param how{};
  how.sched_priority = priority;
  return pthread_setschedparam(thread.native_handle(), SCHED_FIFO, &how);
}

int set_cpu(std::thread& thread, int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  return pthread_setaffinity_np(thread.native_handle(), sizeof set, &set);
}

}  // namespace

std::string apply_settings(const RunnerOptions& options, std::thread& thread) {
  std::string notes;
  const auto note = [&notes](const std::string& what, int error, const char* needed) {
    if (error == 0) return;
    notes += (notes.empty() ? "" : "\n") + what + " was refused by the system (" +
             std::generic_category().message(error) + "): " + needed;
  };
  if (options.priority > 0)
    note("priority " + std::to_string(options.priority), set_priority(thread, options.priority),
         "it needs CAP_SYS_NICE, or a higher ulimit -r");
  if (options.cpu >= 0)
    note("cpu " + std::to_string(options.cpu), set_cpu(thread, options.cpu),
         "it must be one that this process may run on");
  if (options.lock_memory)
    note("lock_memory", mlockall(MCL_CURRENT | MCL_FUTURE) == 0 ? 0 : errno,
         "it needs CAP_IPC_LOCK, or a higher ulimit -l");
  return notes;
}

}  // namespace softmpc
