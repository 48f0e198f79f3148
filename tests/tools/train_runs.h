// SPDX-License-Identifier: Apache-2.0
// Short training runs and what two of them must have in common.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "program.h"
#include "softmpc/bundle.h"

namespace softmpc::test {

using Json = nlohmann::json;
using Words = std::vector<std::string>;

/// A run of small networks: some 2,000 steps a second.
inline Words small_run(const std::string& out, int steps, const Words& more = {}) {
  Words words = {"train", "InvertedPendulum", "--preset",           "paper-gaussian", "--out",
                 out,     "--steps",          std::to_string(steps)};
  for (const char* setting : {"planner.rollouts=16", "planner.horizon=2", "targets.rollouts=4",
                              "model.members=2", "model.width=16", "critic.width=16",
                              "trainer.log_interval=100", "trainer.checkpoint_interval=300"}) {
    words.insert(words.end(), {"--set", setting});
  }
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

/// metrics.jsonl without the fields that hold times.
inline std::vector<Json> metrics(const std::string& out) {
  std::vector<Json> lines;
  for (const std::string& line : lines_of(read_file(out + "/metrics.jsonl"))) {
    lines.push_back(Json::parse(line));
    lines.back().erase("steps_per_second");
  }
  return lines;
}

inline Json config(const std::string& out) { return Json::parse(read_file(out + "/config.json")); }

inline void expect_same_run(const std::string& a, const std::string& b) {
  EXPECT_EQ(metrics(a), metrics(b));
  Bundle first = load_bundle(a + "/model.safetensors");
  Bundle second = load_bundle(b + "/model.safetensors");
  EXPECT_EQ(first.members.parameters, second.members.parameters);
  EXPECT_EQ(first.critics.parameters, second.critics.parameters);
}

/// No file with another name than a run folder's own.
inline void expect_no_leftovers(const std::string& out) {
  for (const auto& entry : std::filesystem::directory_iterator(out)) {
    const std::string name = entry.path().filename().string();
    EXPECT_TRUE(name == "config.json" || name == "metrics.jsonl" || name == "checkpoint" ||
                name == "model.safetensors" || name.starts_with("events.out.tfevents"))
        << name;
  }
}

}  // namespace softmpc::test
