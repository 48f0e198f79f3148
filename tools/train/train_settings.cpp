// SPDX-License-Identifier: Apache-2.0
// From the command line of `softmpc train` to a run with all settings resolved.
#include "train/train_settings.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "program/command.h"
#include "softmpc/error.h"
#include "softmpc/network.h"
#include "softmpc/task.h"

namespace softmpc::tools {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

constexpr std::uint64_t kMostSeeds = 1000;

/// Settings that a resumed run may change: its results do not depend on them.
constexpr const char* kFree[] = {"trainer.threads", "trainer.checkpoint_interval",
                                 "trainer.on_warning"};

std::string preset_of(const TrainOptions& options) {
  return options.preset.empty() ? kDefaultPreset : options.preset;
}

/// A flag is its setting under a shorter name: same rule, same limits.
void apply_flag(Config& config, const std::string& option, const std::string& key,
                const std::string& value) {
  if (value.empty()) return;
  try {
    apply_setting(config, key + "=" + value);
  } catch (const UsageError&) {
    std::string rule;
    for (const SettingInfo& setting : setting_list()) {
      if (setting.key == key) rule = setting.rule;
    }
    const std::size_t dots = rule.find("..");
    throw UsageError(option + ": '" + value + "' must be a whole number from " +
                     rule.substr(0, dots) + " to " + rule.substr(dots + 2));
  }
}

/// What the command line says beyond the preset.
void apply_command_line(const TrainOptions& options, Config& config) {
  for (const std::string& assignment : options.settings) apply_setting(config, assignment);
  apply_flag(config, "--steps", "trainer.steps", options.steps);
  apply_flag(config, "--seed", "trainer.seed", options.seed);
  apply_flag(config, "--threads", "trainer.threads", options.threads);
  apply_flag(config, "--envs", "trainer.envs", options.envs);
  TrainerConfig& trainer = config.trainer;
  if (!options.device.empty()) trainer.device = parse_device(options.device, "--device");
  trainer.device = resolve_train_device(trainer.device);
}

/// {"planner.rollouts": 200, ...}
Json flat(const Config& config) {
  Json result = Json::object();
  const Json nested = Json::parse(to_json(config));
  for (const auto& [group, settings] : nested.items()) {
    for (const auto& [key, value] : settings.items()) result[group + "." + key] = value;
  }
  return result;
}

/// Throws UsageError for the first setting that a resumed run must keep and does not. Another
/// device may plan with another precision: a run goes on where the machine it began on is gone.
void refuse_changes(const Config& recorded, const Config& asked, const std::string& out) {
  const Json before = flat(recorded), after = flat(asked);
  const bool moved = asked.trainer.device != recorded.trainer.device;
  for (const auto& [key, value] : before.items()) {
    if (after.at(key) == value || std::count(std::begin(kFree), std::end(kFree), key) > 0) continue;
    if (moved && (key == "trainer.device" || key == "planner.precision")) continue;
    if (key == "trainer.steps" && asked.trainer.steps > recorded.trainer.steps) continue;
    throw UsageError("'" + key + "' is " + after.at(key).dump() + ", but the run in " + out +
                     " has " + value.dump() +
                     (key == "trainer.steps"
                          ? ": --resume can only add steps"
                          : ": --resume keeps a run's settings; use another --out"));
  }
}

/// Precision `auto` becomes what is faster here; the run keeps it.
void measure_precision(const std::string& task, Config& config) {
  if (config.planner.precision != Precision::automatic) return;
  const TaskSpec spec = find_task(task).spec(task_options(config.environment));
  config.planner.precision = resolve_precision(config, spec.nx, spec.nu);
}

bool sets(const TrainOptions& options, std::string_view key) {
  return std::ranges::any_of(options.settings, [&](const std::string& assignment) {
    return assignment.substr(0, assignment.find('=')) == key;
  });
}

/// What training plans with there unless another is set.
Precision precision_on(Device device) { return chosen_precision("", device, Precision::float32); }

/// All but what is measured.
Config settings_of(const TrainOptions& options) {
  Config config;
  const std::string preset = preset_of(options);
  apply_settings(config, preset_text(preset, options.task), "preset " + preset);
  apply_command_line(options, config);
  if (config.trainer.device == Device::cuda && !sets(options, "planner.precision"))
    config.planner.precision = precision_on(Device::cuda);
  validate(config);
  return config;
}

TrainRequest resolve_resumed(const TrainOptions& options, const std::string& out) {
  const RecordedRun recorded = read_recorded_run(out);
  if (recorded.task != options.task) {
    throw UsageError("the run in " + out + " is of task " + recorded.task + ", not " +
                     options.task + "; use another --out");
  }
  if (!options.preset.empty() && options.preset != recorded.preset) {
    throw UsageError("--preset: the run in " + out + " has preset " + recorded.preset + ", not " +
                     options.preset + "; use another --out");
  }
  Config config = recorded.config;
  apply_command_line(options, config);
  if (config.trainer.device != recorded.config.trainer.device &&
      !sets(options, "planner.precision"))
    config.planner.precision = precision_on(config.trainer.device);
  if (config.planner.precision == Precision::automatic)
    config.planner.precision = recorded.config.planner.precision;
  refuse_changes(recorded.config, config, out);
  validate(config);
  return {recorded.task, recorded.preset, config, out, true};
}

}  // namespace

SeedRange read_seeds(const std::string& text) {
  const std::size_t dots = text.find("..");
  if (dots == std::string::npos) {
    throw UsageError("--seeds: '" + text + "' must be A..B, both ends included, such as 0..9");
  }
  const SeedRange range{seed_number("--seeds", text.substr(0, dots)),
                        seed_number("--seeds", text.substr(dots + 2))};
  if (range.first > range.last || range.count() > kMostSeeds) {
    throw UsageError("--seeds: '" + text + "' must be A..B with A <= B and at most " +
                     std::to_string(kMostSeeds) + " seeds");
  }
  return range;
}

std::string out_folder(const TrainOptions& options) {
  if (!options.out.empty()) return options.out;
  std::string folder = "runs/" + options.task + "-" + preset_of(options);
  if (!options.seeds.empty()) return folder;
  return folder + "-seed" + std::to_string(settings_of(options).trainer.seed);
}

TrainRequest resolve(const TrainOptions& options) {
  find_task(options.task);
  preset_text(preset_of(options), options.task);
  const std::string out = out_folder(options);
  std::error_code fault;
  if (options.resume && fs::exists(fs::path(out) / "config.json", fault)) {
    return resolve_resumed(options, out);
  }
  Config config = settings_of(options);
  measure_precision(options.task, config);
  return {options.task, preset_of(options), config, out, options.resume};
}

std::string shell_word(const std::string& word) {
  const auto plain = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
           std::string_view("-_./=,:+@%").find(c) != std::string_view::npos;
  };
  if (!word.empty() && std::all_of(word.begin(), word.end(), plain)) return word;
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

std::string resume_command(const TrainOptions& options) {
  std::string command = "softmpc train " + options.task;
  if (!options.seeds.empty()) command += " --seeds " + options.seeds;
  if (!options.jobs.empty()) command += " --jobs " + options.jobs;
  command += " --out " + shell_word(out_folder(options)) + " --resume";
  // settings of seeds that have not begun are in no config.json yet
  if (!options.seeds.empty()) {
    if (!options.preset.empty()) command += " --preset " + options.preset;
    if (!options.steps.empty()) command += " --steps " + options.steps;
    for (const std::string& setting : options.settings) command += " --set " + shell_word(setting);
  }
  return command;
}

}  // namespace softmpc::tools
