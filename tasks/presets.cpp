// SPDX-License-Identifier: Apache-2.0
// Presets: {"summary", "base": another preset, "settings": {...}, "tasks": {"Hopper": {...}}}.
// A task's settings are those of the base, then "settings", then the task's own; a task with a
// "base" of its own has that in place of the preset's base and settings.
#include <algorithm>

#include <nlohmann/json.hpp>

#include "embedded.h"
#include "nearest.h"
#include "softmpc/error.h"
#include "softmpc/task.h"
#include "task_files.h"

namespace softmpc {
namespace {

nlohmann::json merged_settings(std::string_view preset, const std::string& task) {
  const std::string path = "presets/" + std::string(preset) + ".json";
  const auto document = nlohmann::json::parse(tasks::embedded_text(path));
  nlohmann::json own = document.at("tasks").value(task, nlohmann::json::object());
  const bool apart = own.contains("base");
  const nlohmann::json& from = apart ? own : document;
  nlohmann::json settings = nlohmann::json::object();
  if (from.contains("base")) settings = merged_settings(from.at("base").get<std::string>(), task);
  // merge_patch: objects are joined key by key, everything else is replaced
  if (!apart) settings.merge_patch(document.at("settings"));
  own.erase("base");
  settings.merge_patch(own);
  return settings;
}

}  // namespace

std::vector<std::string> preset_names() {
  constexpr std::string_view folder = "presets/", ending = ".json";
  std::vector<std::string> names;
  for (const softmpc::detail::EmbeddedFile& file : tasks::task_files()) {
    const std::string_view path = file.name;
    if (!path.starts_with(folder)) continue;
    names.emplace_back(path.substr(folder.size(), path.size() - folder.size() - ending.size()));
  }
  return names;
}

std::string preset_text(std::string_view preset, std::string_view task) {
  const std::vector<std::string> names = preset_names();
  if (std::find(names.begin(), names.end(), preset) == names.end()) {
    throw UsageError("unknown preset '" + std::string(preset) + "', nearest is '" +
                     nearest_name(preset, names) + "'");
  }
  return merged_settings(preset, find_task(task).name()).dump(2);
}

}  // namespace softmpc
