// SPDX-License-Identifier: Apache-2.0
// What a run folder holds: settings and metrics, read without the trainer.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace softmpc::tools::report {

/// A number at a step; NaN where it is not finite.
struct Point {
  std::int64_t step = 0;
  double value = 0;
};

struct Evaluation {
  std::int64_t step = 0;
  std::vector<double> returns{};  ///< of its episodes; NaN where not finite
  double mean = 0;                ///< NaN if one of the returns is
};

struct RunWarning {
  std::int64_t step = 0;
  std::string text{};  ///< "NAME: what was seen"
};

struct TrainRun {
  std::string path{};   ///< the folder as it was named
  std::string label{};  ///< "seed 3"
  std::string task{}, preset{}, version{}, started{}, hardware{};
  std::map<std::string, std::string> settings{};  ///< "planner.horizon" -> JSON text
  std::int64_t last_step = 0;                     ///< of any line
  std::vector<Point> episodes{};                  ///< training returns
  std::vector<Evaluation> evaluations{};
  std::map<std::string, std::vector<Point>> train{};  ///< "critic_loss" -> the train lines' values
  std::vector<Point> clock{};                         ///< seconds of training up to a step
  std::vector<RunWarning> warnings{};
  bool cut = false;  ///< the last line of metrics.jsonl is not whole and was left out

  /// A whole number among the settings, `otherwise` where there is none.
  std::int64_t setting(const std::string& key, std::int64_t otherwise) const;
  /// Seconds of training up to a step, between two known ones interpolated; NaN if unknown.
  double seconds_at(std::int64_t step) const;
};

/// True if `path` holds a config.json.
bool is_run(const std::string& path);
/// Throws Error naming file, line and rule.
TrainRun read_run(const std::string& path);

}  // namespace softmpc::tools::report
