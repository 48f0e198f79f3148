// SPDX-License-Identifier: Apache-2.0
// Tests of softmpc bench loop and soak: what their JSON holds and what they refuse. No test of a
// time or a return.
#include <gtest/gtest.h>

#include "../core/temp_folder.h"
#include "train_runs.h"

namespace softmpc::test {
namespace {

Json bench(Words words) {
  words.insert(words.begin(), "bench");
  words.emplace_back("--json");
  const Result result = run(words);
  EXPECT_EQ(result.code, 0) << result.err;
  return Json::parse(result.out);
}

/// A run whose task has steps of its simulator.
class BenchLoop : public testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(run(small_run(out_, 300)).code, 0); }
  TempFolder folder_;
  std::string out_ = folder_.file("run");
};

TEST_F(BenchLoop, PlaysEachLoop) {
  const Json result = bench({"loop", out_, "--episodes", "3", "--threads", "1", "--delays", "1"});
  EXPECT_EQ(result.at("task"), "InvertedPendulum");
  const Json& cases = result.at("cases");
  ASSERT_EQ(cases.size(), 6u);
  for (const Json& c : cases) {
    EXPECT_EQ(c.at("returns").size(), 3u);
    EXPECT_GT(c.at("mean").get<double>(), 0);
  }
  EXPECT_EQ(cases[0].at("of_steady"), 1);
  const Json again = bench({"loop", out_, "--episodes", "3", "--threads", "2", "--delays", "1"});
  EXPECT_EQ(again.at("cases"), cases) << "whatever the threads";
  expect_error(run({"bench", "loop", out_, "--jitter", "1"}), 2, {"--jitter", "'1'"});
  expect_error(run({"bench", "loop", out_, "--episodes", "1"}), 2, {"--episodes", "'1'"});
  expect_error(run({"bench", "loop", "/nowhere"}), 1, {"/nowhere"});
}

TEST_F(BenchLoop, SoakCountsEveryTick) {
  const Json result = bench({"soak", out_, "--ticks", "60"});
  EXPECT_EQ(result.at("ticks"), 60);
  EXPECT_EQ(result.at("period_ms"), 20);
  int statuses = 0;
  for (const auto& [name, count] : result.at("statuses").items()) statuses += count.get<int>();
  EXPECT_EQ(statuses, 60);
  EXPECT_LE(result.at("wall_us").at("p50"), result.at("wall_us").at("max"));
  EXPECT_LE(result.at("missed_with_the_machine_late"), result.at("missed"));
  expect_error(run({"bench", "soak", out_, "--budget", "2"}), 2, {"--budget", "'2'"});
}

}  // namespace
}  // namespace softmpc::test
