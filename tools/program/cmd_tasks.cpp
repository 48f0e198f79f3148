// SPDX-License-Identifier: Apache-2.0
// softmpc tasks: what can be learned.
#include <memory>
#include <nlohmann/json.hpp>

#include "program/command.h"
#include "program/console.h"
#include "softmpc/error.h"
#include "softmpc/task.h"

namespace softmpc::tools {
namespace {

using Json = nlohmann::ordered_json;

/// The presets that exist for a task.
std::vector<std::string> presets_of(const std::string& task) {
  std::vector<std::string> presets;
  for (const std::string& preset : preset_names()) {
    try {
      preset_text(preset, task);
      presets.push_back(preset);
    } catch (const UsageError&) {  // not made for this task
    }
  }
  return presets;
}

Json describe(const std::string& name) {
  const TaskSpec spec = find_task(name).spec({});
  Json task;
  task["name"] = spec.name;
  task["summary"] = spec.summary;
  task["nx"] = spec.nx;
  task["nu"] = spec.nu;
  task["action_low"] = tidy(spec.action_low);
  task["action_high"] = tidy(spec.action_high);
  task["dt"] = spec.dt;
  task["time_limit"] = spec.time_limit;
  task["analytic_reward"] = spec.analytic_reward;
  task["has_termination"] = spec.has_termination;
  task["analytic_termination"] = spec.analytic_termination;
  task["presets"] = presets_of(name);
  task["best_return"] = spec.best_return ? Json(*spec.best_return) : Json(nullptr);
  return task;
}

/// "-1..1" where all components agree, else the first and "...".
std::string bounds(const Json& task) {
  const auto& low = task["action_low"];
  const auto& high = task["action_high"];
  const std::string first = text("%g..%g", low[0].get<double>(), high[0].get<double>());
  for (std::size_t i = 1; i < low.size(); ++i) {
    if (low[i] != low[0] || high[i] != high[0]) return first + ", ...";
  }
  return first;
}

std::string as_table(const Json& tasks) {
  std::vector<std::vector<std::string>> rows = {
      {"task", "nx", "nu", "bounds", "dt", "limit", "reward", "termination", "best return"}};
  std::vector<std::string> presets;
  for (const Json& task : tasks) {
    const char* termination = !task["has_termination"].get<bool>()       ? "none"
                              : task["analytic_termination"].get<bool>() ? "analytic"
                                                                         : "learned";
    rows.push_back(
        {task["name"], task["nx"].dump(), task["nu"].dump(), bounds(task),
         text("%g", task["dt"].get<double>()), task["time_limit"].dump(),
         task["analytic_reward"].get<bool>() ? "analytic" : "learned", termination,
         task["best_return"].is_null() ? "-" : text("%g", task["best_return"].get<double>())});
  }
  std::string result = table(rows) + "\nPresets:";
  for (const std::string& preset : preset_names()) result += " " + preset;
  return result +
         "\nNext: softmpc train TASK (its --help says how). Sizes are of the variant with root\n"
         "positions in the observation, which training uses.\n";
}

int run_tasks(bool json) {
  Json tasks = Json::array();
  for (const std::string& name : task_names()) tasks.push_back(describe(name));
  write_out(json ? Json{{"tasks", tasks}}.dump(2) + '\n' : as_table(tasks));
  return 0;
}

}  // namespace

Run add_tasks(CLI::App& app) {
  auto json = std::make_shared<bool>(false);
  app.add_flag("--json", *json, "one JSON document: {\"tasks\": [{name, nx, nu, ...}]}");
  app.footer(
      "Reward and termination are 'analytic' where the planner computes them from the "
      "observation,\n"
      "'learned' where the simulator alone knows them and the model learns to predict them.");
  return [json] { return run_tasks(*json); };
}

}  // namespace softmpc::tools
