// SPDX-License-Identifier: Apache-2.0
// Writing of run folders. Formats: DESIGN, "The program".
#include "run/run_folder.h"

#include <chrono>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

#include "hardware.h"
#include "io/atomic_file.h"
#include "io/folder_lock.h"
#include "run/event_file.h"
#include "softmpc/error.h"

namespace softmpc {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// config.json holds the sections of the settings and these.
constexpr const char* kOwnKeys[] = {"version", "task", "preset", "started", "hardware"};

double now() {
  const auto time = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration<double>(time).count();
}

/// Seconds since 1970 as 2026-01-31T12:00:00Z.
std::string utc_text(double seconds) {
  using namespace std::chrono;
  const sys_seconds at{std::chrono::seconds(static_cast<std::int64_t>(seconds))};
  const year_month_day day{floor<days>(at)};
  const hh_mm_ss clock{at - floor<days>(at)};
  char text[64];
  std::snprintf(text, sizeof(text), "%04d-%02u-%02uT%02d:%02d:%02dZ", static_cast<int>(day.year()),
                static_cast<unsigned>(day.month()), static_cast<unsigned>(day.day()),
                static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                static_cast<int>(clock.seconds().count()));
  return text;
}

/// JSON has no NaN and no infinity.
Json number(double x) { return std::isfinite(x) ? Json(x) : Json(nullptr); }

std::string config_path(const std::string& folder) { return folder + "/config.json"; }

Json read_config_json(const std::string& folder) {
  const std::string path = config_path(folder);
  Json root = Json::parse(read_file(path), nullptr, false);
  if (root.is_discarded()) throw Error(path + ": is not JSON");
  if (!root.is_object()) throw Error(path + ": is not a JSON object");
  return root;
}

std::string config_text(const RunInfo& info, const std::string& started) {
  const Hardware machine = this_machine();
  Json root = {{"version", info.version},
               {"task", info.task},
               {"preset", info.preset},
               {"started", started},
               {"hardware",
                {{"cpu", machine.cpu},
                 {"cores", machine.cores},
                 {"instruction_set", machine.instruction_set}}}};
  root.update(Json::parse(to_json(info.config)));
  return root.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

void make_folder(const std::string& path) {
  std::error_code cause;
  fs::create_directories(path, cause);
  if (cause) throw Error(path + ": cannot create the folder: " + cause.message());
}

/// Makes the folder, or refuses it.
void prepare_folder(const std::string& path, bool resume) {
  std::error_code cause;
  const fs::file_status status = fs::status(path, cause);
  if (fs::exists(status) && !fs::is_directory(status)) {
    throw UsageError(path + ": is a file, and the run needs a folder");
  }
  if (fs::exists(status) && !resume) {
    bool empty = true;
    for (fs::directory_iterator entry(path, cause), end; !cause && entry != end;
         entry.increment(cause)) {
      empty = empty && entry->path().filename() == FolderLock::kName;
    }
    if (cause) throw Error(path + ": cannot read the folder: " + cause.message());
    if (!empty) throw UsageError(path + ": exists and is not empty; --resume continues it");
  }
  make_folder(path);
  remove_partial_files(path);
}

/// When the run in a folder was started: what its config.json says, else now.
std::string start_of_run(const std::string& path) {
  if (is_run_folder(path)) {
    const Json root = read_config_json(path);
    if (root.contains("started") && root["started"].is_string()) {
      return root["started"].get<std::string>();
    }
  }
  return utc_text(now());
}

void write_config(const std::string& path, const RunInfo& info) {
  write_file_atomically(config_path(path), config_text(info, start_of_run(path)));
}

/// Where the last whole line within the first `size` bytes of `text` ends.
std::uint64_t end_of_lines(const std::string& text, std::uint64_t size) {
  const std::size_t last = std::string_view(text).substr(0, size).rfind('\n');
  return last == std::string_view::npos ? 0 : last + 1;
}

}  // namespace

struct RunFolder::Impl {
  std::string path;
  RunInfo info;
  AppendFile metrics;
  EventFile events;

  Impl(const std::string& folder, const RunInfo& what)
      : path(folder),
        info(what),
        metrics(folder + "/metrics.jsonl"),
        events(folder + "/events.out.tfevents.softmpc", now()) {}

  void write_line(const Json& line) {
    metrics.append(line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
  }
};

RunFolder::RunFolder(const std::string& path, const RunInfo& info, bool resume) {
  prepare_folder(path, resume);
  // An earlier config.json stands until cut_back(): the trainer may yet refuse these settings.
  if (!is_run_folder(path)) write_config(path, info);
  impl_ = std::make_unique<Impl>(path, info);
}

RunFolder::~RunFolder() = default;

std::string RunFolder::cut_back(const std::string& observer_state) {
  std::uint64_t metrics = 0, events = 0;
  if (!observer_state.empty()) {
    const Json state = Json::parse(observer_state, nullptr, false);
    const auto size = [&state](const char* key) {
      if (!state.is_object() || !state.contains(key) || !state[key].is_number_unsigned()) {
        throw Error("checkpoint: its record of the run folder has no " + std::string(key));
      }
      return state[key].get<std::uint64_t>();
    };
    metrics = size("metrics_bytes");
    events = size("event_bytes");
  }
  std::string lost;
  const std::uint64_t whole = end_of_lines(read_file(impl_->metrics.path()), metrics);
  if (whole < metrics) {
    lost = impl_->metrics.path() + ": " + std::to_string(metrics - whole) + " of the " +
           std::to_string(metrics) +
           " bytes that the checkpoint counts are lost; the run goes on "
           "from the checkpoint all the same";
  }
  impl_->metrics.truncate(whole);
  // a short event file is metrics.jsonl's loss again; its readers start over behind the version
  impl_->events.truncate(events <= impl_->events.size() ? events : 0, now());
  write_config(impl_->path, impl_->info);
  return lost;
}

const std::string& RunFolder::path() const { return impl_->path; }
std::string RunFolder::checkpoint_dir() const { return impl_->path + "/checkpoint"; }
std::string RunFolder::model_path() const { return run_model_path(impl_->path); }

void RunFolder::on_episode(const EpisodeEnd& episode) {
  impl_->write_line({{"kind", "episode"},
                     {"step", episode.step},
                     {"return", number(episode.episode_return)},
                     {"length", episode.length}});
  const Scalar scalars[] = {{"episode/return", episode.episode_return},
                            {"episode/length", episode.length}};
  impl_->events.add(episode.step, now(), scalars);
}

void RunFolder::on_train(const TrainReport& report) {
  Json line = {{"kind", "train"},
               {"step", report.step},
               {"steps_per_second", number(report.steps_per_second)}};
  std::vector<Scalar> scalars = {{"train/steps_per_second", report.steps_per_second}};
  for (const auto& [name, value] : report.values) {
    if (line.contains(name)) throw Error("metrics: the value " + name + " has a name of its own");
    line[name] = number(value);
    scalars.emplace_back("train/" + name, value);
  }
  if (!report.warnings.empty()) line["warnings"] = report.warnings;
  impl_->write_line(line);
  impl_->events.add(report.step, now(), scalars);
}

void RunFolder::on_eval(const EvalReport& report) {
  Json returns = Json::array();
  double sum = 0;
  for (const double x : report.returns) {
    returns.push_back(number(x));
    sum += x;
  }
  const double mean = sum / static_cast<double>(report.returns.size());
  impl_->write_line(
      {{"kind", "eval"}, {"step", report.step}, {"returns", returns}, {"mean", number(mean)}});
  const Scalar scalars[] = {{"eval/mean", mean}};
  impl_->events.add(report.step, now(), scalars);
}

std::string RunFolder::on_checkpoint(std::int64_t) {
  impl_->metrics.sync();
  impl_->events.sync();
  return Json{{"metrics_bytes", impl_->metrics.size()}, {"event_bytes", impl_->events.size()}}
      .dump();
}

std::string run_model_path(const std::string& path) { return path + "/model.safetensors"; }

bool is_run_folder(const std::string& path) {
  std::error_code ignored;
  return fs::is_regular_file(config_path(path), ignored);
}

RunInfo read_run_info(const std::string& path) {
  Json root = read_config_json(path);
  RunInfo info;
  const auto text = [&](const char* key) {
    if (!root.contains(key) || !root[key].is_string()) {
      throw Error(config_path(path) + ": " + key + " is missing or not a text");
    }
    return root[key].get<std::string>();
  };
  info.task = text("task");
  info.preset = text("preset");
  info.version = text("version");
  for (const char* key : kOwnKeys) root.erase(key);
  try {
    apply_settings(info.config, root.dump(), config_path(path));
    validate(info.config);
  } catch (const UsageError& error) {  // the file is wrong, not the command line
    throw Error(error.what());
  }
  return info;
}

}  // namespace softmpc
