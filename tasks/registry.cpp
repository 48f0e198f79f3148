// SPDX-License-Identifier: Apache-2.0
// The registry of tasks: the built-in list, then what was registered.
#include <mutex>

#include "nearest.h"
#include "softmpc/error.h"
#include "softmpc/task.h"
#include "task_list.h"

namespace softmpc {
namespace {

struct Entry {
  std::string name;
  const Task* task;
};

struct Registry {
  std::mutex mutex;
  std::vector<Entry> entries;

  Registry() {
#define SOFTMPC_ADD_TASK(folder) add(tasks::folder##_task());
    SOFTMPC_TASKS(SOFTMPC_ADD_TASK)
#undef SOFTMPC_ADD_TASK
  }

  const Task* find(std::string_view name) const {
    for (const Entry& entry : entries) {
      if (entry.name == name) return entry.task;
    }
    return nullptr;
  }

  void add(const Task& task) {
    std::string name = task.name();
    if (find(name) != nullptr) {
      throw UsageError("task '" + name + "' is registered already, names must differ");
    }
    entries.push_back({std::move(name), &task});
  }

  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const Entry& entry : entries) names.push_back(entry.name);
    return names;
  }
};

Registry& registry() {
  static Registry instance;
  return instance;
}

}  // namespace

std::vector<std::string> task_names() {
  Registry& known = registry();
  const std::lock_guard lock(known.mutex);
  return known.names();
}

const Task& find_task(std::string_view name) {
  Registry& known = registry();
  const std::lock_guard lock(known.mutex);
  if (const Task* task = known.find(name)) return *task;
  throw UsageError("unknown task '" + std::string(name) + "', nearest is '" +
                   nearest_name(name, known.names()) + "'; `softmpc tasks` lists all");
}

void register_task(const Task& task) {
  Registry& known = registry();
  const std::lock_guard lock(known.mutex);
  known.add(task);
}

}  // namespace softmpc
