// SPDX-License-Identifier: Apache-2.0
// softmpc train: trains a controller, shows how it goes, says what to do next.
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "program/command.h"
#include "program/console.h"
#include "program/statistics.h"
#include "program/stop_signal.h"
#include "softmpc/cuda.h"
#include "softmpc/error.h"
#include "train/metrics_tail.h"
#include "train/train_progress.h"
#include "train/train_seeds.h"
#include "train/train_settings.h"

namespace softmpc::tools {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFooter =
    R"(The run folder holds config.json (every setting), metrics.jsonl, TensorBoard event files,
checkpoint/ and model.safetensors, the controller for eval, plan and the C++ library.

Settings: defaults, then the preset, then --set in order, then the flags. With --resume they come
from the run's config.json; of them --steps may grow, and --threads, trainer.checkpoint_interval and
trainer.on_warning may change. So may --device, where the one that a run began on is lost: it goes on
from the same numbers, within the other device's rounding and with its precision.

Ctrl-C stops cleanly, within a step or an evaluation too: a checkpoint is written, the command that
goes on is printed, and the exit code is 130 (143 after SIGTERM, 129 after a closed terminal). A
second Ctrl-C kills; --resume then goes on from the last checkpoint. Either way the result is the
same, bit for bit, as of a run never stopped.

Examples:
  softmpc train InvertedDoublePendulum
  softmpc train Hopper --preset paper-uniform --steps 100000 --seed 3
  softmpc train Hopper --seeds 0..9 --jobs 2 --out runs/hopper
  softmpc train Hopper --set planner.rollouts=400 --set planner.variance=[0.1,0.1,0.05]
  softmpc train --help-settings)";

int print_settings(bool json) {
  const std::vector<SettingInfo> settings = setting_list();
  Json list = Json::array();
  std::vector<std::vector<std::string>> rows = {{"key", "default", "type", "rule", "meaning"}};
  for (const SettingInfo& setting : settings) {
    list.push_back({{"key", setting.key},
                    {"type", setting.type},
                    {"default", Json::parse(setting.value)},
                    {"rule", setting.rule},
                    {"help", setting.help}});
    rows.push_back({setting.key, setting.value, setting.type, setting.rule, setting.help});
  }
  write_out(json ? Json{{"settings", list}}.dump(2) + '\n'
                 : "Settings for --set KEY=VALUE, with their defaults before any preset:\n\n" +
                       table(rows));
  return 0;
}

void check_combinations(const TrainOptions& options) {
  if (options.task.empty()) {
    throw UsageError("train: no TASK given; softmpc tasks lists them");
  }
  if (!options.seed.empty() && !options.seeds.empty()) {
    throw UsageError("--seed and --seeds exclude each other");
  }
  if (!options.jobs.empty() && options.seeds.empty()) {
    throw UsageError("--jobs needs --seeds A..B");
  }
}

Json as_json(const TrainRequest& request, const TrainOutcome& outcome, const MetricsTail& metrics) {
  const auto done = static_cast<double>(outcome.steps - outcome.start);
  return {{"task", request.task},
          {"preset", request.preset},
          {"seed", request.config.trainer.seed},
          {"precision", to_string(request.config.planner.precision)},
          {"status", outcome.stopped ? "stopped" : "done"},
          {"steps", outcome.steps},
          {"episodes", metrics.episodes()},
          {"median_return", median(metrics.last_returns())},
          {"warnings", Json(metrics.warnings())},
          {"seconds", outcome.seconds},
          {"steps_per_second", outcome.seconds > 0 ? done / outcome.seconds : 0.0},
          {"state_hash", text("%016llx", static_cast<unsigned long long>(outcome.state_hash))},
          {"out", request.out}};
}

std::string as_text(const Json& result) {
  std::string summary =
      text("%s, preset %s, seed %lld: %lld steps, %lld episodes, %s (%.0f steps/s)\n",
           result["task"].get<std::string>().c_str(), result["preset"].get<std::string>().c_str(),
           result["seed"].get<long long>(), result["steps"].get<long long>(),
           result["episodes"].get<long long>(), duration(result["seconds"].get<double>()).c_str(),
           result["steps_per_second"].get<double>());
  const double median_return = result["median_return"].get<double>();
  summary += std::isnan(median_return)
                 ? "no episode has ended yet\n"
                 : text("median return of the last ten episodes: %.1f\n", median_return);
  for (const auto& [name, lines] : result["warnings"].items())
    summary += text("warning: %s (%d train lines)\n", name.c_str(), lines.get<int>());
  const std::string out = shell_word(result["out"].get<std::string>());
  if (result.contains("resume")) {
    return summary + "stopped; go on with: " + result["resume"].get<std::string>() + '\n';
  }
  return summary + "controller: " + out + "/model.safetensors\nnext: softmpc eval " + out + '\n';
}

/// A lost device costs the steps since the last checkpoint, which any device goes on from.
TrainOutcome train_on_device(const TrainOptions& options, const TrainRequest& request,
                             TrainProgress& progress) {
  try {
    return train(request, progress, stop_requested());
  } catch (const cuda::DeviceLost& lost) {
    throw Error(std::string(lost.what()) + "; go on from the last checkpoint with: " +
                resume_command(options) + " (or, without this device, with --device cpu added)");
  }
}

int train_one(const TrainOptions& options) {
  const TrainRequest request = resolve(options);
  catch_stop_signals(1);
  const ProgressStyle style = options.quiet || options.json ? ProgressStyle::silent
                              : out_is_terminal()           ? ProgressStyle::bar
                                                            : ProgressStyle::lines;
  TrainProgress progress(style, request.config.trainer.steps);
  if (style != ProgressStyle::silent) {
    show_out(text(
        "training %s, preset %s, %s, seed %llu, into %s; mean is of the last ten "
        "episodes\n",
        request.task.c_str(), request.preset.c_str(), to_string(request.config.planner.precision),
        static_cast<unsigned long long>(request.config.trainer.seed), request.out.c_str()));
  }
  const TrainOutcome outcome = train_on_device(options, request, progress);
  progress.finish();
  if (!outcome.lost.empty()) print_warning(outcome.lost);
  MetricsTail metrics(request.out + "/metrics.jsonl");
  metrics.update();
  Json result = as_json(request, outcome, metrics);
  if (outcome.stopped) result["resume"] = resume_command(options);
  write_out(options.json ? result.dump() + '\n' : as_text(result));
  report_silence();  // where the summary is refused too, its error says it
  return outcome.stopped ? 128 + stop_signal_number() : 0;
}

int run_train(const TrainOptions& options) {
  if (options.help_settings) return print_settings(options.json);
  check_combinations(options);
  return options.seeds.empty() ? train_one(options) : train_seeds(options);
}

}  // namespace

Run add_train(CLI::App& app) {
  auto options = std::make_shared<TrainOptions>();
  add_text(app, "TASK", options->task, "", "a task of softmpc tasks");
  add_text(app, "--preset", options->preset, "P",
           "settings to start from: default, paper-gaussian, paper-uniform");
  add_text(app, "--steps", options->steps, "N", "environment steps (trainer.steps)");
  add_text(app, "--seed", options->seed, "S", "seed of everything random (trainer.seed)");
  add_text(app, "--seeds", options->seeds, "A..B", "train these seeds, each in DIR/seed-N");
  add_text(app, "--jobs", options->jobs, "J", "seeds at a time, one a core if not given");
  add_text(app, "--out", options->out, "DIR", "run folder, runs/TASK-PRESET-seedN if not given");
  add_text(app, "--device", options->device, "D",
           "cpu, cuda or auto (cpu); cuda plans in float16 unless planner.precision is set");
  add_text(app, "--threads", options->threads, "N",
           "threads, 0 for all cores; the result does not depend on it");
  add_text(app, "--envs", options->envs, "N",
           "environments side by side (trainer.envs); each step of each has its updates");
  app.add_option("--set", options->settings, "change one setting; may be repeated")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  app.add_flag("--resume", options->resume, "go on from the folder's checkpoint, if it has one");
  app.add_flag("--quiet", options->quiet, "no progress, only the summary");
  app.add_flag("--json", options->json, "one JSON document at the end and nothing else");
  app.add_flag("--help-settings", options->help_settings, "list every setting that --set knows");
  app.footer(kFooter);
  return [options] { return run_train(*options); };
}

}  // namespace softmpc::tools
