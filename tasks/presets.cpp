// SPDX-License-Identifier: Apache-2.0
// Presets: {"summary", "base": another preset, "settings": {...}, "tasks": {"Hopper": {...}}}.
// A task's settings are those of the base, then "settings", then the task's own.
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
  nlohmann::json settings = nlohmann::json::object();
  if (document.contains("base")) {
    settings = merged_settings(document.at("base").get<std::string>(), task);
  }
  // merge_patch: objects are joined key by key, everything else is replaced
  settings.merge_patch(document.at("settings"));
  const nlohmann::json& own = document.at("tasks");
  if (own.contains(task)) settings.merge_patch(own.at(task));
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
