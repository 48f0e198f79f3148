// SPDX-License-Identifier: Apache-2.0
#include "report/repeat.h"

#include <nlohmann/json.hpp>

#include "softmpc/config.h"
#include "softmpc/error.h"
#include "softmpc/task.h"
#include "train/train_settings.h"

namespace softmpc::tools::report {

std::string command_of(const TrainRun& run, const std::string& out) {
  Config config;
  try {
    find_task(run.task);
    apply_settings(config, preset_text(run.preset, run.task), "preset " + run.preset);
  } catch (const UsageError&) {
    return "";
  }
  std::string command = "softmpc train " + shell_word(run.task) + " --preset " + run.preset;
  for (const auto& [option, key] :
       {std::pair{" --steps ", "trainer.steps"}, std::pair{" --seed ", "trainer.seed"}}) {
    const auto value = run.settings.find(key);
    if (value != run.settings.end()) command += option + value->second;
  }
  const auto ours = nlohmann::json::parse(to_json(config));
  for (const auto& [key, value] : run.settings) {
    if (key == "trainer.steps" || key == "trainer.seed") continue;
    const std::size_t dot = key.find('.');
    const std::string section = key.substr(0, dot), name = key.substr(dot + 1);
    const bool known = ours.contains(section) && ours[section].contains(name);
    if (known && ours[section][name].dump() == value) continue;
    const auto parsed = nlohmann::json::parse(value);
    command += " --set " +
               shell_word(key + '=' + (parsed.is_string() ? parsed.get<std::string>() : value));
  }
  return command + " --out " + shell_word(out);
}

}  // namespace softmpc::tools::report
