// SPDX-License-Identifier: Apache-2.0
// Reading of golden files and comparison by their tolerance.
#pragma once

#include <algorithm>
#include <cmath>
#include <fstream>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "softmpc/error.h"

namespace softmpc::tasks {

inline nlohmann::json read_golden(const std::string& path) {
  const std::string full = std::string(SOFTMPC_GOLDEN_DIR) + "/" + path;
  std::ifstream file(full);
  if (!file) throw std::runtime_error("golden file " + full + " cannot be read");
  return nlohmann::json::parse(file);
}

/// The eleven simulated tasks with recordings.
inline const std::vector<std::string>& simulated_tasks() {
  static const std::vector<std::string> names = {"InvertedPendulum",
                                                 "InvertedDoublePendulum",
                                                 "Reacher",
                                                 "Pusher",
                                                 "Swimmer",
                                                 "Hopper",
                                                 "HalfCheetah",
                                                 "Walker2d",
                                                 "Ant",
                                                 "Humanoid",
                                                 "HumanoidStandup"};
  return names;
}

/// Name of a parameterised test over tasks.
inline std::string task_of(const testing::TestParamInfo<std::string>& test) { return test.param; }

/// What an Error thrown by `call` says.
inline std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

struct Tolerance {
  double abs = 0, rel = 0;
  bool holds(double value, double recorded) const {
    return std::abs(value - recorded) <= abs + rel * std::abs(recorded);
  }
};

/// Tolerance of step t (0 is the first) of a recorded episode.
inline Tolerance tolerance_at(const nlohmann::json& file, std::size_t t) {
  const auto& rule = file.at("tolerance");
  const auto& part = rule.at(t < rule.at("first_steps").get<std::size_t>() ? "first" : "later");
  return {part.at("abs"), part.at("rel")};
}

/// Steps of an episode that are compared.
inline std::size_t compared_steps(const nlohmann::json& file, const nlohmann::json& episode) {
  const std::size_t recorded = episode.at("actions").size();
  if (!file.contains("compare_steps") || file.at("compare_steps").is_null()) return recorded;
  return std::min(recorded, file.at("compare_steps").get<std::size_t>());
}

}  // namespace softmpc::tasks
