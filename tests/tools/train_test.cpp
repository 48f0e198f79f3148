// SPDX-License-Identifier: Apache-2.0
// Tests of softmpc train and eval: real, short runs; killed, interrupted, resumed, out of space.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "softmpc/bundle.h"
#include "train_runs.h"

namespace softmpc::test {
namespace {

namespace fs = std::filesystem;

// `auto` is measured once; the run keeps what it found, and environments side by side.
TEST(Train, PrecisionAutoAndEnvironmentsAreKept) {
  const Folder folder;
  const std::string out = folder.file("run");
  const Words more = {"--set", "planner.precision=auto", "--envs", "2", "--json"};
  const Result first = run(small_run(out, 200, more));
  ASSERT_EQ(first.code, 0) << first.err;
  const std::string kept = Json::parse(first.out).at("precision").get<std::string>();
  EXPECT_NE(kept, "auto");
  const Json before = config(out);
  EXPECT_NE(before.dump().find("\"precision\":\"" + kept + "\""), std::string::npos);
  EXPECT_NE(before.dump().find("\"envs\":2"), std::string::npos);
  Words again = more;
  again.emplace_back("--resume");
  const Result second = run(small_run(out, 400, again));
  ASSERT_EQ(second.code, 0) << second.err;
  EXPECT_EQ(Json::parse(second.out).at("precision"), kept);
  EXPECT_EQ(Json::parse(second.out).at("steps"), 400);
  const Result changed = run(small_run(out, 600, {"--envs", "3", "--resume"}));
  EXPECT_EQ(changed.code, 2);
  EXPECT_NE(changed.err.find("trainer.envs"), std::string::npos) << changed.err;
}

TEST(Train, WritesARunThatEvalAndPlanRead) {
  const Folder folder;
  const std::string out = folder.file("run");
  const Result result = run(small_run(out, 400, {"--set", "trainer.eval_interval=200"}));
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.err, "");
  for (const char* part :
       {"step 200/400", "steps/s", "left", "median return of the last ten", "next: softmpc eval"}) {
    EXPECT_NE(result.out.find(part), std::string::npos) << part << " in " << result.out;
  }
  EXPECT_EQ(result.out.find('\r'), std::string::npos) << "no bar where there is no terminal";
  expect_no_leftovers(out);
  const Json provenance = Json::parse(load_bundle(out + "/model.safetensors").provenance);
  EXPECT_EQ(provenance.at("step"), 400);

  const Result eval = run({"eval", out, "--episodes", "3", "--json"});
  ASSERT_EQ(eval.code, 0) << eval.err;
  const Json report = Json::parse(eval.out);
  EXPECT_EQ(report.at("returns").size(), 3u);
  EXPECT_EQ(report.at("lengths").size(), 3u);
  for (const char* key : {"mean", "median", "std"}) EXPECT_TRUE(report.at(key).is_number()) << key;
  EXPECT_EQ(run({"eval", out, "--episodes", "3", "--json"}).out, eval.out);
  EXPECT_NE(run({"eval", out, "--episodes", "3"}).out.find("mean"), std::string::npos);

  ProgramOptions options;
  options.input = "[[0, 0, 0, 0]]";
  EXPECT_EQ(run({"plan", out, "--state", "-", "--json"}, options).code, 0);
}

TEST(Train, JsonIsOneDocumentAndNothingElse) {
  const Folder folder;
  const Result result = run(small_run(folder.file("run"), 200, {"--json", "--seed", "7"}));
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.err, "");
  const Json report = Json::parse(result.out);
  EXPECT_EQ(report.at("status"), "done");
  EXPECT_EQ(report.at("steps"), 200);
  EXPECT_EQ(report.at("seed"), 7);
  EXPECT_TRUE(report.at("median_return").is_number());
  EXPECT_TRUE(report.at("warnings").empty());
}

TEST(Train, AWarningIsShownCountedAndStopsWhereItIsAskedTo) {
  const Folder folder;
  Words words;
  for (const char* setting :
       {"critic.updates_per_step=20", "critic.tau=1", "critic.target_interval=1",
        "critic.learning_rate=0.01", "planner.gamma=1.0", "trainer.log_interval=50"})
    for (const char* word : {"--set", setting}) words.push_back(word);
  const Result run_on = run(small_run(folder.file("on"), 400, words));
  ASSERT_EQ(run_on.code, 0) << run_on.err;
  EXPECT_NE(run_on.err.find(": critic runs away: Q is"), std::string::npos) << run_on.err;
  EXPECT_NE(run_on.out.find("warning: critic runs away ("), std::string::npos) << run_on.out;

  for (const char* word : {"--set", "trainer.on_warning=stop"}) words.push_back(word);
  const std::string out = folder.file("stopped");
  const Result stopped = run(small_run(out, 400, words));
  EXPECT_EQ(stopped.code, 1);
  EXPECT_NE(stopped.err.find("softmpc: error: training stopped at step "), std::string::npos)
      << stopped.err;
  words.back() = "trainer.on_warning=go_on";
  words.push_back("--resume");
  const Result further = run(small_run(out, 400, words));
  EXPECT_EQ(further.code, 0) << further.err;
  EXPECT_NE(further.out.find(" 400 steps"), std::string::npos) << further.out;
}

TEST(Train, FlagsGoBeforeSetBeforePreset) {
  const Folder folder;
  const std::string out = folder.file("run");
  const Result result =
      run({"train", "InvertedPendulum", "--preset", "paper-uniform", "--set", "planner.rollouts=8",
           "--set", "targets.rollouts=4", "--set", "trainer.steps=900", "--set", "trainer.seed=4",
           "--steps", "20", "--device", "auto", "--quiet", "--out", out});
  ASSERT_EQ(result.code, 0) << result.err;
  const Json settings = config(out);
  EXPECT_EQ(settings.at("task"), "InvertedPendulum");
  EXPECT_EQ(settings.at("preset"), "paper-uniform");
  EXPECT_EQ(settings.at("planner").at("prior"), "uniform");
  EXPECT_EQ(settings.at("planner").at("rollouts"), 8);
  EXPECT_EQ(settings.at("trainer").at("steps"), 20);
  EXPECT_EQ(settings.at("trainer").at("seed"), 4);
  EXPECT_EQ(settings.at("trainer").at("device"), "cpu");
}

TEST(Train, ThreadsDoNotChangeTheResult) {
  const Folder folder;
  const std::string one = folder.file("one"), two = folder.file("two");
  const Json first = Json::parse(run(small_run(one, 300, {"--json", "--threads", "1"})).out);
  const Json second = Json::parse(run(small_run(two, 300, {"--json", "--threads", "2"})).out);
  EXPECT_EQ(first.at("state_hash"), second.at("state_hash"));
  expect_same_run(one, two);
}

TEST(Train, KilledAndResumedIsTheSameRun) {
  const Folder folder;
  const std::string whole = folder.file("whole"), killed = folder.file("killed");
  ASSERT_EQ(run(small_run(whole, 2000, {"--quiet"})).code, 0);
  {
    Program program(small_run(killed, 2000));
    ASSERT_TRUE(program.wait_for("step 700/")) << program.err();
    program.signal(SIGKILL);
    EXPECT_EQ(program.wait(), 128 + SIGKILL);
  }
  ASSERT_LT(metrics(killed).back().at("step").get<int>(), 2000);
  const Result result = run(small_run(killed, 2000, {"--resume", "--quiet"}));
  ASSERT_EQ(result.code, 0) << result.err;
  expect_same_run(whole, killed);
  expect_no_leftovers(killed);
}

TEST(Train, InterruptedSaysHowToGoOn) {
  const Folder folder;
  const std::string whole = folder.file("whole"), stopped = folder.file("stopped");
  ASSERT_EQ(run(small_run(whole, 2000, {"--quiet"})).code, 0);
  Program program(small_run(stopped, 2000));
  ASSERT_TRUE(program.wait_for("step 500/")) << program.err();
  program.signal(SIGINT);
  EXPECT_EQ(program.wait(), 130);
  EXPECT_EQ(program.err(), "");
  const std::string command = "softmpc train InvertedPendulum --out " + stopped + " --resume";
  ASSERT_NE(program.out().find(command), std::string::npos) << program.out();
  // the bundle of the moment is there, and the printed command goes on
  EXPECT_EQ(run({"eval", stopped, "--episodes", "1"}).code, 0);
  const Result result = run({"train", "InvertedPendulum", "--out", stopped, "--resume", "--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(Json::parse(result.out).at("steps"), 2000);
  expect_same_run(whole, stopped);
}

TEST(Train, TerminatedLikewise) {
  const Folder folder;
  Program program(small_run(folder.file("run"), 100000));
  ASSERT_TRUE(program.wait_for("step 200/")) << program.err();
  program.signal(SIGTERM);
  EXPECT_EQ(program.wait(), 143);
}

TEST(Train, ResumeKeepsSettingsAndAddsSteps) {
  const Folder folder;
  const std::string whole = folder.file("whole"), grown = folder.file("grown");
  ASSERT_EQ(run(small_run(whole, 700, {"--quiet"})).code, 0);
  ASSERT_EQ(run(small_run(grown, 400, {"--quiet"})).code, 0);
  const auto resume = [&](const Words& more) {
    Words words = {"train", "InvertedPendulum", "--out", grown, "--resume", "--quiet"};
    words.insert(words.end(), more.begin(), more.end());
    return run(words);
  };
  const std::string before = read_file(grown + "/config.json");
  expect_error(resume({"--set", "planner.rollouts=17"}), 2, {"'planner.rollouts' is 17", "16"});
  expect_error(resume({"--seed", "2"}), 2, {"'trainer.seed' is 2", "1"});
  expect_error(resume({"--preset", "paper-uniform"}), 2,
               {"--preset", "paper-gaussian", "paper-uniform"});
  expect_error(resume({"--steps", "300"}), 2, {"'trainer.steps' is 300", "400"});
  expect_error(run({"train", "Hopper", "--out", grown, "--resume"}), 2,
               {"InvertedPendulum", "not Hopper"});
  EXPECT_EQ(read_file(grown + "/config.json"), before);
  const Result result = resume({"--steps", "700", "--threads", "1"});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(config(grown).at("trainer").at("steps"), 700);
  expect_same_run(whole, grown);
}

TEST(Train, ExistingFolderIsRefused) {
  const Folder folder;
  const std::string out = folder.file("run");
  fs::create_directory(out);
  write_file(out + "/notes.txt", "mine");
  expect_error(run(small_run(out, 100)), 2, {out, "--resume"});
  EXPECT_EQ(read_file(out + "/notes.txt"), "mine");
  EXPECT_FALSE(fs::exists(out + "/config.json"));
}

TEST(Train, ResumeWithoutACheckpointStartsAfresh) {
  const Folder folder;
  const std::string whole = folder.file("whole"), out = folder.file("run");
  ASSERT_EQ(run(small_run(whole, 250, {"--quiet"})).code, 0);
  ASSERT_EQ(run(small_run(out, 250, {"--quiet", "--resume"})).code, 0);
  expect_same_run(whole, out);
  fs::remove_all(out + "/checkpoint");
  ASSERT_EQ(run(small_run(out, 250, {"--quiet", "--resume"})).code, 0);
  expect_same_run(whole, out);
}

TEST(Train, DamagedCheckpointsAreNamed) {
  const Folder folder;
  const std::string out = folder.file("run"), copy = folder.file("copy");
  ASSERT_EQ(run(small_run(out, 350, {"--quiet"})).code, 0);
  const std::string before = read_file(out + "/metrics.jsonl");
  const auto resume = [&](const std::string& name, const std::string& bytes) {
    fs::remove_all(copy);
    fs::copy(out, copy, fs::copy_options::recursive);
    write_file(copy + "/" + name, bytes);
    return run(small_run(copy, 500, {"--resume", "--quiet"}));
  };
  const auto refused = [&](const std::string& name, const std::string& bytes) {
    SCOPED_TRACE(name + " of " + std::to_string(bytes.size()) + " bytes");
    expect_error(resume(name, bytes), 1, {copy});
    EXPECT_EQ(read_file(copy + "/metrics.jsonl"), before) << "changed before it was read";
  };
  refused("config.json", "{\"version\": ");
  for (const auto& entry : fs::directory_iterator(out + "/checkpoint")) {
    const std::string name = "checkpoint/" + entry.path().filename().string();
    const std::string bytes = read_file(entry.path().string());
    ASSERT_GT(bytes.size(), 8u) << name;
    std::string flipped = bytes;
    flipped[bytes.size() / 2] = static_cast<char>(flipped[bytes.size() / 2] ^ 0x20);
    if (name == "checkpoint/plans.bin") {
      // most plans stand in the journal too, which makes the damage good: then nothing may differ
      const Result result = resume(name, flipped);
      if (result.code != 0) {
        expect_error(result, 1, {copy});
        continue;
      }
      ASSERT_EQ(run(small_run(folder.file("whole"), 500, {"--quiet"})).code, 0);
      expect_same_run(folder.file("whole"), copy);
      continue;
    }
    refused(name, bytes.substr(0, bytes.size() / 2));
    refused(name, flipped);
  }
}

TEST(Train, FullDiskLeavesARunThatGoesOn) {
  const Folder folder;
  const std::string whole = folder.file("whole"), out = folder.file("run");
  ASSERT_EQ(run(small_run(whole, 900, {"--quiet"})).code, 0);
  ProgramOptions options;
  options.most_file_bytes = 30000;
  expect_error(run(small_run(out, 900, {"--quiet"}), options), 1, {out, "File too large"});
  expect_no_leftovers(out);
  if (fs::exists(out + "/model.safetensors")) load_bundle(out + "/model.safetensors");
  const Result result = run(small_run(out, 900, {"--quiet", "--resume"}));
  ASSERT_EQ(result.code, 0) << result.err;
  expect_same_run(whole, out);
}

}  // namespace
}  // namespace softmpc::test
