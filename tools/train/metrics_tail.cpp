// SPDX-License-Identifier: Apache-2.0
// Follows a run's metrics.jsonl while it grows.
#include "train/metrics_tail.h"

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

namespace softmpc::tools {

void MetricsTail::read_line(const std::string& line) {
  constexpr std::size_t kRecent = 10;
  const auto entry = nlohmann::json::parse(line, nullptr, false);
  if (!entry.is_object()) return;
  const auto number = [&](const char* key) {
    const auto found = entry.find(key);
    return found != entry.end() && found->is_number() ? found->get<double>() : 0.0;
  };
  step_ = static_cast<std::int64_t>(number("step"));
  const auto warnings = entry.find("warnings");
  if (warnings != entry.end() && warnings->is_array())
    for (const auto& warning : *warnings)
      if (warning.is_string()) ++warnings_[warning_name(warning.get<std::string>())];
  const auto kind = entry.find("kind");
  if (kind == entry.end() || *kind != "episode") return;
  ++episodes_;
  returns_.push_back(number("return"));
  if (returns_.size() > kRecent) returns_.pop_front();
}

void MetricsTail::update() {
  std::error_code fault;
  const auto size = std::filesystem::file_size(path_, fault);
  if (fault || size == offset_) return;
  if (size < offset_) *this = MetricsTail(path_);
  std::ifstream file(path_, std::ios::binary);
  file.seekg(static_cast<std::streamoff>(offset_));
  // the last line may still be half written: it counts once it ends
  std::string line;
  while (std::getline(file, line) && !file.eof()) {
    offset_ += line.size() + 1;
    read_line(line);
  }
}

}  // namespace softmpc::tools
