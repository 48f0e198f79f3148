// SPDX-License-Identifier: Apache-2.0
// Tests of run folders in use, in part lost, or with nowhere to print.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "../core/memory_limit.h"
#include "train_runs.h"

namespace softmpc::test {
namespace {

namespace fs = std::filesystem;

TEST(TrainFolder, InUseIsRefusedAndKeptAsItIs) {
  const Folder folder;
  const std::string out = folder.file("live"), whole = folder.file("whole");
  Program first(small_run(out, 3000));
  ASSERT_TRUE(first.wait_for("step 400/")) << first.err();
  first.signal(SIGSTOP);  // it holds the folder, however fast the machine is
  const std::string refusal = out + ": is being trained by process " + std::to_string(first.id());
  expect_error(run(small_run(out, 3000, {"--resume"})), 1, {refusal});
  expect_error(run(small_run(out, 3000)), 1, {refusal});
  EXPECT_EQ(run({"eval", out, "--episodes", "1"}).code, 0) << "reading stays possible";
  first.signal(SIGCONT);
  EXPECT_EQ(first.wait(), 0) << first.err();
  ASSERT_EQ(run(small_run(whole, 3000, {"--quiet"})).code, 0);
  expect_same_run(whole, out);
  expect_no_leftovers(out);
}

// the lock of a killed process: its file is there, and keeps nobody out
TEST(TrainFolder, AKilledProcessHoldsNobodyUp) {
  const Folder folder;
  const std::string out = folder.file("run");
  {
    Program program(small_run(out, 3000));
    ASSERT_TRUE(program.wait_for("step 400/")) << program.err();
    program.signal(SIGKILL);
    program.wait();
  }
  EXPECT_TRUE(fs::exists(out + "/lock"));
  const Result result = run(small_run(out, 3000, {"--resume", "--quiet"}));
  EXPECT_EQ(result.code, 0) << result.err;
  expect_no_leftovers(out);
}

TEST(TrainFolder, ShortMetricsResumeFromTheCheckpoint) {
  const Folder folder;
  const std::string out = folder.file("run"), whole = folder.file("whole");
  ASSERT_EQ(run(small_run(whole, 900, {"--quiet"})).code, 0);
  ASSERT_EQ(run(small_run(out, 600, {"--quiet"})).code, 0);
  const std::string file = out + "/metrics.jsonl";
  fs::resize_file(file, 72);
  const Result result = run(small_run(out, 900, {"--quiet", "--resume"}));
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(lines_of(result.err).size(), 1u) << result.err;
  EXPECT_NE(result.err.find(file + ": "), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("lost"), std::string::npos) << result.err;
  EXPECT_EQ(load_bundle(whole + "/model.safetensors").critics.parameters,
            load_bundle(out + "/model.safetensors").critics.parameters);
  metrics(out);  // every line is whole
}

// /dev/full takes no byte: progress falls silent, and the run ends with its checkpoint
TEST(TrainFolder, AFullLogDoesNotEndARun) {
  const Folder folder;
  const std::string out = folder.file("run"), whole = folder.file("whole");
  ProgramOptions full;
  full.output = "/dev/full";
  expect_error(run(small_run(out, 450), full), 1, {});
  EXPECT_TRUE(fs::exists(out + "/checkpoint/manifest.json"));
  ASSERT_EQ(run(small_run(whole, 450, {"--quiet"})).code, 0);
  expect_same_run(whole, out);
}

TEST(TrainFolder, AHangupStopsWithACheckpoint) {
  const Folder folder;
  const std::string out = folder.file("run");
  Program program(small_run(out, 100000, {"--set", "trainer.checkpoint_interval=0"}));
  ASSERT_TRUE(program.wait_for("step 200/")) << program.err();
  program.signal(SIGHUP);
  program.signal(SIGHUP);
  EXPECT_EQ(program.wait(), 128 + SIGHUP);
  EXPECT_TRUE(fs::exists(out + "/checkpoint/manifest.json"));
}

/// Stops a run soon after `seen` is printed, goes on with it and stops it again, and expects what a
/// whole run has. When it stops is a share of what the whole run took, so that a faster machine
/// does not end it before.
void expect_stop_does_not_show(const Words& more, int steps, const std::string& seen) {
  const Folder folder;
  const std::string out = folder.file("run"), whole = folder.file("whole");
  Words quiet = more;
  quiet.emplace_back("--quiet");
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_EQ(run(small_run(whole, steps, quiet)).code, 0);
  const auto whole_time = std::chrono::steady_clock::now() - begin;
  int stops = 0;
  for (; stops < 50; ++stops) {
    Words resumed = more;
    if (stops > 0) resumed.emplace_back("--resume");
    Program program(small_run(out, steps, resumed));
    if (stops == 0) {
      ASSERT_TRUE(program.wait_for(seen)) << program.err();
    }
    // into a step, wherever that is; later ones wait longer, so that the run gets on
    std::this_thread::sleep_for(stops == 0 ? whole_time / 20 : whole_time * (2 + stops) / 10);
    program.signal(SIGTERM);
    const int code = program.wait();
    if (code == 0) break;
    ASSERT_EQ(code, 128 + SIGTERM) << program.err();
  }
  EXPECT_GT(stops, 0);
  if (stops == 50) {
    quiet.emplace_back("--resume");
    ASSERT_EQ(run(small_run(out, steps, quiet)).code, 0);
  }
  expect_same_run(whole, out);
}

// one evaluation would last for minutes: the stop gives it up, and a later run makes up for it
TEST(TrainFolder, AStopGivesAnEvaluationUp) {
  const Folder folder;
  const std::string out = folder.file("run");
  Program program(small_run(
      out, 400, {"--set", "trainer.eval_interval=200", "--set", "trainer.eval_episodes=1000000"}));
  ASSERT_TRUE(program.wait_for("step 200/")) << program.err();
  ::usleep(200000);
  program.signal(SIGTERM);
  EXPECT_EQ(program.wait(), 143);
  EXPECT_NE(program.out().find("200 steps"), std::string::npos) << program.out();
  for (const Json& line : metrics(out)) EXPECT_NE(line.at("kind"), "eval");
}

TEST(TrainFolder, AnEvaluationGivenUpIsMadeUpFor) {
  expect_stop_does_not_show(
      {"--set", "trainer.eval_interval=200", "--set", "trainer.eval_episodes=2000"}, 400,
      "step 200/");
}

// a step of 256 environments has 256 updates: the stop comes between them
TEST(TrainFolder, AStopWithinAStepOfManyEnvironmentsDoesNotShow) {
  expect_stop_does_not_show({"--envs", "256", "--set", "trainer.learning_starts=256", "--set",
                             "trainer.log_interval=512"},
                            2560, "step 512/");
}

TEST(TrainFolder, AStopWithinAnEpisodesUpdatesDoesNotShow) {
  expect_stop_does_not_show({"--set", "trainer.pattern=episodic"}, 8000, "step 200/");
}

TEST(TrainFolder, MoreThanMemoryIsRefusedBeforeThereIsOne) {
  if (!kLimitsWork) GTEST_SKIP() << "a sanitizer lets no address space be limited";
  const Folder folder;
  const std::string out = folder.file("run");
  const ProgramOptions little = {.most_memory = 3'000'000'000};
  const auto refused = [&](const Words& settings, const std::vector<std::string>& parts) {
    Words words = {"train", "InvertedPendulum", "--preset", "paper-gaussian", "--out", out};
    words.insert(words.end(), settings.begin(), settings.end());
    expect_error(run(words, little), 1, parts);
    EXPECT_FALSE(fs::exists(out));
  };
  refused({"--set", "planner.rollouts=1048576", "--set", "planner.horizon=1000"},
          {"planner: 1048576 rollouts x 1001 steps x 1 actions need 4.2 GB"});
  // (2 x 4 states + 1 action + reward + end + plan of 5) floats and a mark
  refused({"--set", "trainer.replay_capacity=1000000000", "--steps", "1000000000"},
          {"trainer.replay_capacity: 1000000000 transitions need 65.0 GB", "a smaller one"});
}

}  // namespace
}  // namespace softmpc::test
