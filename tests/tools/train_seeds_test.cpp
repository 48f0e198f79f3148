// SPDX-License-Identifier: Apache-2.0
// Tests of softmpc train --seeds.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>

#include "train_runs.h"

namespace softmpc::test {
namespace {

namespace fs = std::filesystem;

TEST(TrainSeeds, RunSideBySideAndResume) {
  const Folder folder;
  const std::string out = folder.file("seeds"), single = folder.file("single");
  const Result result = run(small_run(out, 300, {"--seeds", "1..3", "--jobs", "2"}));
  ASSERT_EQ(result.code, 0) << result.err;
  for (const char* part : {"seed 3: done", "median over seeds"}) {
    EXPECT_NE(result.out.find(part), std::string::npos) << result.out;
  }
  for (const char* seed : {"seed-1", "seed-2", "seed-3"}) {
    EXPECT_TRUE(fs::exists(fs::path(out) / seed / "log.txt")) << seed;
    EXPECT_TRUE(fs::exists(fs::path(out) / seed / "model.safetensors")) << seed;
  }
  ASSERT_EQ(run(small_run(single, 300, {"--seed", "2", "--quiet"})).code, 0);
  expect_same_run(out + "/seed-2", single);
  expect_error(run(small_run(out, 300, {"--seeds", "1..3"})), 2, {"seed-1", "--resume"});
  // finished seeds are skipped, new ones begun
  const Result more = run(small_run(out, 300, {"--seeds", "1..4", "--resume", "--json"}));
  ASSERT_EQ(more.code, 0) << more.err;
  const Json runs = Json::parse(more.out).at("runs");
  ASSERT_EQ(runs.size(), 4u);
  EXPECT_EQ(runs[0].at("status"), "done before");
  EXPECT_EQ(runs[3].at("status"), "done");
  EXPECT_EQ(runs[3].at("steps"), 300);
}

TEST(TrainSeeds, InterruptReachesTheSeeds) {
  const Folder folder;
  const std::string out = folder.file("seeds");
  Program program(small_run(out, 200000, {"--seeds", "1..2", "--jobs", "1"}));
  ASSERT_TRUE(program.wait_for("seed 1: started")) << program.err();
  const std::string seen = out + "/seed-1/metrics.jsonl";
  for (int i = 0; i < 3000 && (!fs::exists(seen) || fs::file_size(seen) == 0); ++i) ::usleep(10000);
  program.signal(SIGINT);
  EXPECT_EQ(program.wait(), 130);
  EXPECT_NE(program.out().find("seed 1: stopped"), std::string::npos) << program.out();
  EXPECT_NE(program.out().find("--resume"), std::string::npos);
  EXPECT_TRUE(fs::exists(out + "/seed-1/checkpoint"));
}

TEST(TrainSeeds, FailureNamesSeedAndLog) {
  const Folder folder;
  const std::string out = folder.file("seeds");
  fs::create_directories(out);
  write_file(out + "/seed-2", "a file where a folder must be");
  const Result result = run(small_run(out, 100, {"--seeds", "1..2", "--resume", "--quiet"}));
  expect_error(result, 1, {"seed 2 failed", "seed-2", "log"});
  EXPECT_TRUE(fs::exists(out + "/seed-1/model.safetensors"));
}

TEST(TrainSeeds, AFolderInUseIsRefused) {
  const Folder folder;
  const std::string out = folder.file("seeds");
  Program program(small_run(out, 200000, {"--seeds", "1..1"}));
  ASSERT_TRUE(program.wait_for("seed 1: started")) << program.err();
  const std::string holder = "process " + std::to_string(program.id());
  expect_error(run(small_run(out, 200000, {"--seeds", "1..2", "--resume"})), 1,
               {out + ": is being trained by " + holder});
  EXPECT_FALSE(fs::exists(out + "/seed-2"));
}

// the last episode ends before the last step
TEST(TrainSeeds, TheSummaryCountsTheStepsThatWereDone) {
  const Folder folder;
  const std::string out = folder.file("seeds");
  Words words = {"train", "pendulum", "--preset", "paper-gaussian", "--steps", "250",   "--seeds",
                 "0..1",  "--jobs",   "1",        "--out",          out,       "--json"};
  for (const char* setting : {"planner.rollouts=8", "planner.horizon=2", "targets.rollouts=4",
                              "model.members=2", "model.width=16", "critic.width=16"}) {
    words.insert(words.end(), {"--set", setting});
  }
  const Result result = run(words);
  ASSERT_EQ(result.code, 0) << result.err;
  const Json summary = Json::parse(result.out);
  for (const Json& seed : summary.at("runs")) EXPECT_EQ(seed.at("steps"), 250);
}

TEST(TrainSeeds, AValueThatNoSeedCanUseIsRefusedOnce) {
  const Folder folder;
  const std::string out = folder.file("seeds");
  expect_error(run({"train", "Hopper", "--seeds", "0..3", "--out", out, "--set",
                    "planner.variance=[0.1,0.2]"}),
               2, {"variance"});
  EXPECT_FALSE(fs::exists(out)) << "touched before it was refused";
}

/// The state letter of a process, as /proc has it.
char state_of(const std::string& id) {
  const std::string line = read_file("/proc/" + id + "/stat");
  const std::size_t close = line.rfind(')');
  return close == std::string::npos ? '?' : line.at(close + 2);
}

bool comes_to(const std::string& id, bool stopped) {
  for (int i = 0; i < 1000; ++i) {
    if ((state_of(id) == 'T') == stopped) return true;
    ::usleep(10000);
  }
  return false;
}

TEST(TrainSeeds, CtrlZStopsTheSeedsAndFgGoesOn) {
  const Folder folder;
  const std::string out = folder.file("seeds"), lock = out + "/seed-1/lock";
  Program program(small_run(out, 200000, {"--seeds", "1..1"}));
  for (int i = 0; i < 3000 && read_file(lock).empty(); ++i) ::usleep(10000);
  const std::string child = std::to_string(std::stol(read_file(lock)));
  const std::string parent = std::to_string(program.id());
  program.signal(SIGTSTP);
  EXPECT_TRUE(comes_to(parent, true));
  EXPECT_TRUE(comes_to(child, true));
  program.signal(SIGCONT);
  EXPECT_TRUE(comes_to(parent, false));
  EXPECT_TRUE(comes_to(child, false));
  program.signal(SIGHUP);
  EXPECT_EQ(program.wait(), 128 + SIGHUP);
  EXPECT_NE(program.out().find("seed 1: stopped"), std::string::npos) << program.out();
}

}  // namespace
}  // namespace softmpc::test
