// SPDX-License-Identifier: Apache-2.0
// Tests for models/run_folder.cpp.
#include "run/run_folder.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "../core/file_limit.h"
#include "../core/temp_folder.h"
#include "event_decoder.h"
#include "io/atomic_file.h"
#include "softmpc/error.h"

namespace softmpc {
namespace {

using nlohmann::json;
using test::error_of;

class RunFolderTest : public ::testing::Test {
 protected:
  RunFolderTest() {
    info_.task = "lq";
    info_.preset = "default";
    info_.version = "1.2.3";
    info_.config.planner.rollouts = 77;
  }

  std::string file(const std::string& name) const { return path_ + "/" + name; }

  std::vector<json> metrics() const {
    std::vector<json> lines;
    std::ifstream stream(file("metrics.jsonl"));
    for (std::string line; std::getline(stream, line);) lines.push_back(json::parse(line));
    return lines;
  }

  std::vector<std::int64_t> metric_steps() const {
    std::vector<std::int64_t> steps;
    for (const json& line : metrics()) steps.push_back(line["step"]);
    return steps;
  }

  test::DecodedEvents events() const {
    return test::EventDecoder(read_file(file("events.out.tfevents.softmpc"))).decode();
  }

  test::TempFolder folder_;
  std::string path_ = folder_.file("run");
  RunInfo info_;
};

TEST_F(RunFolderTest, WritesEverySettingVersionAndHardware) {
  const RunFolder run(path_, info_, false);
  const json config = json::parse(read_file(file("config.json")));
  EXPECT_EQ(config["task"], "lq");
  EXPECT_EQ(config["version"], "1.2.3");
  EXPECT_FALSE(config["hardware"]["cpu"].get<std::string>().empty());
  EXPECT_GE(config["hardware"]["cores"].get<int>(), 1);
  EXPECT_FALSE(config["hardware"]["instruction_set"].get<std::string>().empty());
  EXPECT_EQ(config["started"].get<std::string>().size(), 20u);
  for (const SettingInfo& info : setting_list()) {
    const std::size_t dot = info.key.find('.');
    EXPECT_TRUE(config[info.key.substr(0, dot)].contains(info.key.substr(dot + 1))) << info.key;
  }
  EXPECT_EQ(run.checkpoint_dir(), file("checkpoint"));
  EXPECT_EQ(run.model_path(), file("model.safetensors"));
  EXPECT_TRUE(is_run_folder(path_));
  EXPECT_FALSE(is_run_folder(folder_.path()));
}

TEST_F(RunFolderTest, ItsConfigIsReadBack) {
  const RunFolder run(path_, info_, false);
  const RunInfo read = read_run_info(path_);
  EXPECT_EQ(read.task, info_.task);
  EXPECT_EQ(read.preset, info_.preset);
  EXPECT_EQ(read.version, info_.version);
  EXPECT_EQ(read.config, info_.config);
}

TEST_F(RunFolderTest, ConfigsThatCannotBeReadAreNamed) {
  std::filesystem::create_directory(path_);
  const std::string name = file("config.json");
  const auto error = [&](const std::string& text) {
    write_file_atomically(name, text);
    return error_of<Error>([&] { read_run_info(path_); });
  };
  EXPECT_EQ(error_of<Error>([&] { read_run_info(path_); }),
            name + ": cannot open: No such file or directory");
  EXPECT_EQ(error("{"), name + ": is not JSON");
  EXPECT_EQ(error("[]"), name + ": is not a JSON object");
  EXPECT_EQ(error("{}"), name + ": task is missing or not a text");
  EXPECT_EQ(error(R"({"task":"lq","preset":"","version":"1","planner":{"rollouts":0}})"),
            "planner.rollouts: 0 is out of range 1..1048576 (in " + name + ")");
}

TEST_F(RunFolderTest, LinesHaveTheDocumentedForm) {
  RunFolder run(path_, info_, false);
  run.on_episode({1234, 9.25, 57});
  run.on_train({2000, 101.5, {{"critic_loss", 0.5}, {"model_loss", std::nan("")}}});
  run.on_train({3000, 99, {{"q", 1}}, {"critic is dead: of boredom"}});
  run.on_eval({5000, {1.0, 2.0}});
  const std::string text = read_file(file("metrics.jsonl"));
  EXPECT_EQ(text,
            "{\"kind\":\"episode\",\"step\":1234,\"return\":9.25,\"length\":57}\n"
            "{\"kind\":\"train\",\"step\":2000,\"steps_per_second\":101.5,\"critic_loss\":0.5,"
            "\"model_loss\":null}\n"
            "{\"kind\":\"train\",\"step\":3000,\"steps_per_second\":99.0,\"q\":1.0,"
            "\"warnings\":[\"critic is dead: of boredom\"]}\n"
            "{\"kind\":\"eval\",\"step\":5000,\"returns\":[1.0,2.0],\"mean\":1.5}\n");
}

TEST_F(RunFolderTest, EventsHoldTheSameNumbers) {
  RunFolder run(path_, info_, false);
  run.on_episode({10, 9.25, 57});
  run.on_train({20, 101.5, {{"critic_loss", 0.5}}});
  run.on_eval({30, {1.0, 2.0}});
  const auto scalars = events().scalars;
  ASSERT_EQ(scalars.size(), 5u);
  EXPECT_EQ(scalars[0].tag, "episode/return");
  EXPECT_EQ(scalars[0].value, 9.25f);
  EXPECT_EQ(scalars[1].tag, "episode/length");
  EXPECT_EQ(scalars[2].tag, "train/steps_per_second");
  EXPECT_EQ(scalars[3].tag, "train/critic_loss");
  EXPECT_EQ(scalars[3].step, 20);
  EXPECT_EQ(scalars[4].tag, "eval/mean");
  EXPECT_EQ(scalars[4].value, 1.5f);
}

TEST_F(RunFolderTest, AnExistingRunIsRefusedWithoutResume) {
  { const RunFolder run(path_, info_, false); }
  EXPECT_EQ(error_of<UsageError>([&] { RunFolder(path_, info_, false); }),
            path_ + ": exists and is not empty; --resume continues it");
  EXPECT_NO_THROW(RunFolder(path_, info_, true));
}

TEST_F(RunFolderTest, AnEmptyFolderIsTaken) {
  std::filesystem::create_directories(path_);
  EXPECT_NO_THROW(RunFolder(path_, info_, false));
}

TEST_F(RunFolderTest, AFileInTheWayIsNamed) {
  write_file_atomically(path_, "x");
  EXPECT_EQ(error_of<UsageError>([&] { RunFolder(path_, info_, true); }),
            path_ + ": is a file, and the run needs a folder");
  EXPECT_NE(error_of<Error>([&] { RunFolder(path_ + "/below", info_, false); }), "(no exception)");
}

TEST_F(RunFolderTest, ResumingCutsBackToTheCheckpoint) {
  std::string state;
  {
    RunFolder run(path_, info_, false);
    run.on_episode({1, 1, 1});
    run.on_train({1, 10, {}});
    state = run.on_checkpoint(1);
    run.on_episode({2, 2, 1});
    run.on_eval({2, {3}});
  }
  std::ofstream(file("metrics.jsonl"), std::ios::app) << "{\"kind\":\"epi";  // killed within a line
  RunFolder run(path_, info_, true);
  run.cut_back(state);
  run.on_episode({3, 3, 1});
  EXPECT_EQ(metric_steps(), (std::vector<std::int64_t>{1, 1, 3}));
  std::vector<std::int64_t> steps;
  for (const auto& scalar : events().scalars) steps.push_back(scalar.step);
  EXPECT_EQ(steps, (std::vector<std::int64_t>{1, 1, 1, 3, 3}));
  EXPECT_EQ(json::parse(state).size(), 2u);
}

TEST_F(RunFolderTest, ResumingWithoutACheckpointStartsAfresh) {
  {
    RunFolder run(path_, info_, false);
    run.on_episode({1, 1, 1});
  }
  RunFolder run(path_, info_, true);
  run.cut_back("");
  EXPECT_TRUE(metrics().empty());
  EXPECT_TRUE(events().scalars.empty());
  EXPECT_EQ(events().versions.size(), 1u);
}

TEST_F(RunFolderTest, FilesShorterThanTheCheckpointKeepTheirWholeLines) {
  std::string state;
  {
    RunFolder run(path_, info_, false);
    run.on_episode({1, 1, 1});
    run.on_episode({2, 1, 1});
    state = run.on_checkpoint(2);
  }
  const auto size = std::filesystem::file_size(file("metrics.jsonl"));
  std::filesystem::resize_file(file("metrics.jsonl"), size - 3);
  std::filesystem::resize_file(file("events.out.tfevents.softmpc"), 5);
  RunFolder run(path_, info_, true);
  EXPECT_EQ(run.cut_back(state), file("metrics.jsonl") + ": " + std::to_string(size / 2) +
                                     " of the " + std::to_string(size) +
                                     " bytes that the checkpoint counts are lost; the run goes on "
                                     "from the checkpoint all the same");
  run.on_episode({3, 1, 1});
  EXPECT_EQ(metric_steps(), (std::vector<std::int64_t>{1, 3}));
  EXPECT_EQ(events().scalars.size(), 2u);
  EXPECT_EQ(error_of<Error>([&] { run.cut_back("{}"); }),
            "checkpoint: its record of the run folder has no metrics_bytes");
}

TEST_F(RunFolderTest, ConfigIsReplacedOnlyWhenTheTrainerHasAgreed) {
  { const RunFolder run(path_, info_, false); }
  json before = json::parse(read_file(file("config.json")));
  before["started"] = "2001-01-01T00:00:00Z";
  write_file_atomically(file("config.json"), before.dump());
  info_.config.trainer.steps = 99;
  RunFolder run(path_, info_, true);
  EXPECT_EQ(json::parse(read_file(file("config.json"))), before);
  run.cut_back("");
  const json after = json::parse(read_file(file("config.json")));
  EXPECT_EQ(after["trainer"]["steps"], 99);
  EXPECT_EQ(after["started"], "2001-01-01T00:00:00Z");
}

TEST_F(RunFolderTest, AFullDiskIsNamedAndLeavesWholeLines) {
  RunFolder run(path_, info_, false);
  run.on_episode({1, 1, 1});
  {
    const test::FileLimit limit(std::filesystem::file_size(file("metrics.jsonl")) + 5);
    EXPECT_EQ(error_of<Error>([&] {
                run.on_episode({2, 2, 1});
              }),
              file("metrics.jsonl") + ": cannot write: File too large");
  }
  EXPECT_EQ(metric_steps(), std::vector<std::int64_t>{1});
}

TEST_F(RunFolderTest, ADiskThatIsFullAtTheStartLeavesAnEmptyFolder) {
  {
    const test::FileLimit limit(100);
    EXPECT_EQ(error_of<Error>([&] { RunFolder(path_, info_, false); }),
              file("config.json") + ": cannot write: File too large");
  }
  EXPECT_TRUE(std::filesystem::is_empty(path_));
  EXPECT_NO_THROW(RunFolder(path_, info_, false));
}

TEST_F(RunFolderTest, WhatAKilledWriterLeftIsDeleted) {
  { const RunFolder run(path_, info_, false); }
  write_file_atomically(file("model.safetensors.partial-1-0"), "x");
  { const RunFolder run(path_, info_, true); }
  EXPECT_FALSE(std::filesystem::exists(file("model.safetensors.partial-1-0")));
}

}  // namespace
}  // namespace softmpc
