// SPDX-License-Identifier: Apache-2.0
// Follows a run's metrics.jsonl while it grows.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

namespace softmpc::tools {

/// NAME of a warning "NAME: what was seen" (TrainReport::warnings).
inline std::string warning_name(const std::string& warning) {
  return warning.substr(0, warning.find(':'));
}

class MetricsTail {
 public:
  explicit MetricsTail(std::string path) : path_(std::move(path)) {}

  /// Reads the whole lines that came since; starts over if the file was cut, as --resume does.
  void update();

  std::int64_t step() const { return step_; }  ///< of the last line
  std::int64_t episodes() const { return episodes_; }
  /// Lines that warn, by the warning's name.
  const std::map<std::string, int>& warnings() const { return warnings_; }
  /// Returns of the last ten episodes.
  std::vector<double> last_returns() const { return {returns_.begin(), returns_.end()}; }

 private:
  void read_line(const std::string& line);

  std::string path_;
  std::uint64_t offset_ = 0;
  std::int64_t step_ = 0, episodes_ = 0;
  std::deque<double> returns_;
  std::map<std::string, int> warnings_;
};

}  // namespace softmpc::tools
