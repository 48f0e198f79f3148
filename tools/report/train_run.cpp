// SPDX-License-Identifier: Apache-2.0
#include "report/train_run.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <limits>

#include "program/json_reader.h"
#include "program/statistics.h"
#include "softmpc/error.h"

namespace softmpc::tools::report {
namespace {

using Json = nlohmann::json;
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

/// null and Python's NaN are what a number that is not finite became.
double number(const Json& value) { return value.is_number() ? value.get<double>() : kNan; }

void read_config(TrainRun& run) {
  const std::string path = run.path + "/config.json";
  const Json root = parse_json(read_text(path), path);
  const JsonNode node(root, path);
  run.task = node.at("task").string();
  run.preset = node.at("preset").string();
  run.version = node.at("version").string();
  if (const auto started = node.find("started")) run.started = started->string();
  if (const auto hardware = node.find("hardware")) {
    run.hardware = hardware->at("cpu").string() + ", " +
                   std::to_string(hardware->at("cores").integer(0, 1 << 30)) + " cores, " +
                   hardware->at("instruction_set").string();
  }
  for (const auto& [section, settings] : root.items()) {
    if (!settings.is_object() || section == "hardware") continue;
    for (const auto& [key, value] : settings.items())
      run.settings[section + "." + key] = value.dump();
  }
  const auto seed = run.settings.find("trainer.seed");
  run.label = seed == run.settings.end() ? run.path : "seed " + seed->second;
}

/// The metrics as they come, line by line.
class MetricsReader {
 public:
  MetricsReader(TrainRun& run, std::string path) : run_(run), path_(std::move(path)) {}

  void read(const std::string& text) {
    std::size_t begin = 0;
    for (int line = 1; begin < text.size(); ++line) {
      const std::size_t end = text.find('\n', begin);
      source_ = path_ + " line " + std::to_string(line);
      if (end == std::string::npos) {
        run_.cut = true;  // what is not ended may be half a number
        return;
      }
      if (end > begin) read_line(text.substr(begin, end - begin));
      begin = end + 1;
    }
  }

 private:
  void read_line(const std::string& line) {
    Json entry = Json::parse(line, nullptr, false);
    if (entry.is_discarded()) entry = parse_json(line, source_);  // NaN, or an error in words
    const JsonNode node(entry, source_);
    const std::string kind = node.at("kind").string();
    const auto step = static_cast<std::int64_t>(node.at("step").number());
    if (step < run_.last_step) node.at("step").fail("is less than the step of the line before");
    run_.last_step = step;
    if (kind == "episode") run_.episodes.push_back({step, number(node.at("return").value())});
    if (kind == "eval") read_evaluation(step, node.at("returns"));
    if (kind == "train") read_train(step, entry);
  }

  void read_evaluation(std::int64_t step, const JsonNode& returns) {
    Evaluation evaluation{.step = step};
    for (std::size_t i = 0; i < returns.size(); ++i)
      evaluation.returns.push_back(number(returns.at(i).value()));
    evaluation.mean = mean(evaluation.returns);
    run_.evaluations.push_back(std::move(evaluation));
  }

  void read_train(std::int64_t step, const Json& entry) {
    for (const auto& [key, value] : entry.items()) {
      if (key == "kind" || key == "step" || key == "warnings") continue;
      run_.train[key].push_back({step, number(value)});
    }
    if (const auto rate = entry.find("steps_per_second"); rate != entry.end()) {
      const Point before = run_.clock.empty() ? Point{} : run_.clock.back();
      const double seconds = static_cast<double>(step - before.step) / number(*rate);
      if (std::isfinite(seconds) && seconds > 0)
        run_.clock.push_back({step, before.value + seconds});
    }
    if (const auto warnings = entry.find("warnings");
        warnings != entry.end() && warnings->is_array())
      for (const Json& warning : *warnings)
        if (warning.is_string()) run_.warnings.push_back({step, warning.get<std::string>()});
  }

  TrainRun& run_;
  std::string path_, source_;
};

}  // namespace

std::int64_t TrainRun::setting(const std::string& key, std::int64_t otherwise) const {
  const auto found = settings.find(key);
  if (found == settings.end()) return otherwise;
  std::int64_t value = otherwise;
  std::from_chars(found->second.data(), found->second.data() + found->second.size(), value);
  return value;
}

double TrainRun::seconds_at(std::int64_t step) const {
  if (clock.empty()) return kNan;
  // behind the last line the rate of the last line goes on
  auto after = std::ranges::lower_bound(clock, step, {}, &Point::step);
  if (after == clock.end()) --after;
  const Point before = after == clock.begin() ? Point{} : *(after - 1);
  const double share =
      static_cast<double>(step - before.step) / static_cast<double>(after->step - before.step);
  return before.value + share * (after->value - before.value);
}

bool is_run(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(path + "/config.json", ignored);
}

TrainRun read_run(const std::string& path) {
  TrainRun run;
  run.path = path;
  read_config(run);
  const std::string metrics = path + "/metrics.jsonl";
  std::error_code ignored;
  if (std::filesystem::exists(metrics, ignored))
    MetricsReader(run, metrics).read(read_text(metrics));
  return run;
}

}  // namespace softmpc::tools::report
