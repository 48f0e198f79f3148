// SPDX-License-Identifier: Apache-2.0
// Tests of softmpc bench: what its JSON holds and what it refuses. No test of a time: machines
// vary.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <numeric>

#include "program.h"
#include "softmpc/bundle.h"

namespace softmpc::test {
namespace {

using Json = nlohmann::json;

Json bench(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "bench");
  arguments.push_back("--json");
  const Result result = run(arguments);
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.err, "");
  return Json::parse(result.out);
}

void expect_times(const Json& c, std::size_t plans) {
  SCOPED_TRACE(c.dump());
  double last = 0;
  for (const char* key : {"p50", "p90", "p99", "p999", "max"}) {
    EXPECT_GE(c.at("time_us").at(key).get<double>(), last) << key;
    last = c.at("time_us").at(key).get<double>();
  }
  EXPECT_GT(last, 0);
  EXPECT_GT(c.at("evals_per_second").get<double>(), 0);
  EXPECT_EQ(c.at("plans"), plans);
}

void expect_matrix(const Json& result) {
  const Json& matrix = result.at("matrix");
  EXPECT_GT(matrix.at("gflops").get<double>(), 0);
  EXPECT_TRUE(matrix.at("by") == "softmpc" || matrix.at("by") == "libtorch");
  EXPECT_GT(matrix.at("softmpc").get<double>(), 0);
}

TEST(BenchPlan, JsonHasWhatOthersRead) {
  const Json result = bench({"plan", "--case", "a,b", "--plans", "25", "--threads", "1"});
  EXPECT_EQ(result.at("device"), "cpu");
  EXPECT_EQ(result.at("precision"), "float32");
  EXPECT_EQ(result.at("threads"), 1);
  expect_matrix(result);
  ASSERT_EQ(result.at("cases").size(), 2u);
  const Json& a = result["cases"][0];
  const Json sizes = {{"name", "a"}, {"problems", 1}, {"rollouts", 200}, {"horizon", 4},
                      {"nx", 12},    {"nu", 3},       {"members", 4},    {"width", 256}};
  for (const auto& [key, value] : sizes.items()) EXPECT_EQ(a.at(key), value) << key;
  EXPECT_EQ(a.at("reward"), "Hopper");
  EXPECT_EQ(result["cases"][1].at("name"), "b");
  for (const Json& c : result["cases"]) {
    expect_times(c, 25);
    EXPECT_GT(c.at("gflops").get<double>(), 0);
    EXPECT_GT(c.at("matrix_gflops").get<double>(), 0);
    EXPECT_GT(c.at("share").get<double>(), 0);
    const auto counts = c.at("histogram").at("counts").get<std::vector<int>>();
    EXPECT_EQ(counts.size(), c["histogram"].at("upper_us").size());
    EXPECT_EQ(std::accumulate(counts.begin(), counts.end(), 0), 25);
    EXPECT_GE(c["histogram"]["upper_us"].back(), c["time_us"]["max"]);
  }
  // work over median time: 200 (4 * 144,896 + 139,264) FLOP
  EXPECT_NEAR(a["gflops"].get<double>() * 1e3 * a["time_us"]["p50"].get<double>(), 143769600, 10);
}

TEST(BenchPlan, SizesPrecisionAndNets) {
  const Folder folder;
  const Json result =
      bench({"plan",     "--problems", "3",         "--rollouts", "5",
             "--nx",     "4",          "--nu",      "2",          "--width",
             "16",       "--layers",   "1",         "--members",  "3",
             "--plans",  "4",          "--horizon", "2",          "--precision",
             "bfloat16", "--threads",  "2",         "--nets",     folder.file("nets")});
  EXPECT_EQ(result.at("precision"), "bfloat16");
  const Json& c = result.at("cases").at(0);
  EXPECT_EQ(c.at("name"), "custom");
  EXPECT_EQ(c.at("reward"), "quadratic");
  EXPECT_EQ(c.at("layers"), 1);
  expect_times(c, 4);
  const Bundle nets = load_bundle(folder.file("nets"));
  EXPECT_EQ(nets.members.stack, 3);
  EXPECT_EQ(nets.members.spec, NetSpec::mlp({6, 16, 4}));
  EXPECT_EQ(nets.critics.spec, NetSpec::mlp({6, 16, 1}));
  EXPECT_NE(nets.members.weight(0)[0], 0);
  // the same weights every time
  bench({"plan", "--nx", "4", "--nu", "2", "--width", "16", "--layers", "1", "--members", "3",
         "--plans", "1", "--nets", folder.file("again")});
  EXPECT_EQ(load_bundle(folder.file("again")).members.parameters, nets.members.parameters);
}

TEST(BenchPlan, TableForPeople) {
  const Result result = run({"bench", "plan", "--plans", "3"});
  EXPECT_EQ(result.code, 0) << result.err;
  for (const char* word : {"case", "p99.9", "GFLOP/s", "plain matrix product", "float32"}) {
    EXPECT_NE(result.out.find(word), std::string::npos) << word;
  }
}

TEST(BenchScaling, HasThePointsOfASweep) {
  const Json result =
      bench({"scaling", "--seconds", "0.001", "--threads", "1", "--sweep", "width,members"});
  expect_matrix(result);
  ASSERT_EQ(result.at("sweeps").size(), 2u);
  for (const char* name : {"width", "members"}) {
    const Json& points = result["sweeps"].at(name);
    ASSERT_EQ(points.size(), 5u) << name;
    for (const Json& point : points) {
      EXPECT_GT(point.at("value").get<int>(), 0);
      EXPECT_GT(point.at("time_us").at("p50").get<double>(), 0);
      EXPECT_GT(point.at("share").get<double>(), 0);
    }
  }
}

TEST(BenchDiffDrive, TimesAllRollouts) {
  const Json result = bench({"diff-drive", "--rollouts", "16,100", "--plans", "5"});
  ASSERT_EQ(result.at("cases").size(), 2u);
  EXPECT_EQ(result["cases"][0].at("rollouts"), 16);
  EXPECT_EQ(result["cases"][1].at("rollouts"), 100);
  EXPECT_EQ(result["cases"][0].at("horizon"), 100);
  for (const Json& c : result["cases"]) expect_times(c, 5);
}

TEST(BenchTrain, CountsStepsAfterTheWarmUp) {
  const Result result = run({"bench", "train", "Hopper", "--preset", "paper-gaussian", "--steps",
                             "20", "--warmup", "5", "--threads", "1", "--envs", "2", "--json"});
  if (result.err.find("no trainer") != std::string::npos) {
    expect_error(result, 1, {"SOFTMPC_WITH_TRAIN"});
    GTEST_SKIP() << "this build has no trainer";
  }
  ASSERT_EQ(result.code, 0) << result.err;
  const Json json = Json::parse(result.out);
  EXPECT_EQ(json.at("device"), "cpu");
  EXPECT_EQ(json.at("task"), "Hopper");
  EXPECT_EQ(json.at("preset"), "paper-gaussian");
  EXPECT_NEAR(json.at("steps").get<int>(), 20, 2);
  EXPECT_EQ(json.at("envs"), 2);
  EXPECT_EQ(json.at("threads"), 1);
  EXPECT_GT(json.at("steps_per_second").get<double>(), 0);
  EXPECT_GT(json.at("share").get<double>(), 0);
  expect_matrix(json);
  // 200 (4 d + q) + 32 * 20 (4 d + q) + 3 * 32 (4 d + q), d = 144,896, q = 139,264
  EXPECT_EQ(json.at("flops_per_step").get<double>(), 672841728.0);
}

TEST(BenchUpdate, TimesEachLearnerAtEachBatch) {
  const Result result = run({"bench", "update", "--rounds", "3", "--batch", "32,48", "--json"});
  if (result.err.find("no trainer") != std::string::npos) {
    GTEST_SKIP() << "this build has no trainer";
  }
  ASSERT_EQ(result.code, 0) << result.err;
  const Json json = Json::parse(result.out);
  EXPECT_EQ(json.at("members"), 4);
  ASSERT_EQ(json.at("batches").size(), 2u);
  EXPECT_EQ(json["batches"][0].at("batch_size"), 32);
  EXPECT_EQ(json["batches"][1].at("batch_size"), 48);
  for (const Json& batch : json["batches"]) {
    for (const char* key : {"model_us", "critic_us", "sum_us"})
      EXPECT_GT(batch.at(key).get<double>(), 0) << key;
    EXPECT_EQ(batch.contains("libtorch_model_us"), batch.contains("libtorch_critic_us"));
  }
  expect_error(run({"bench", "update", "--batch", "0"}), 2, {"--batch"});
}

TEST(Bench, WrongCommandLinesSayWhatIsRight) {
  const auto refused = [](std::vector<std::string> arguments,
                          const std::vector<std::string>& parts) {
    SCOPED_TRACE(arguments.empty() ? "" : arguments.back());
    arguments.insert(arguments.begin(), "bench");
    expect_error(run(arguments), 2, parts);
  };
  refused({}, {"plan, scaling, train, update, diff-drive"});
  refused({"plam"}, {"'bench plam'", "nearest is 'plan'"});
  refused({"plan", "--rolouts", "3"}, {"'--rolouts'", "--rollouts", "softmpc bench plan --help"});
  refused({"plan", "--case", "f"}, {"'f'", "a, b, c, d, e"});
  refused({"plan", "--case", "a,"}, {"--case"});
  refused({"plan", "--case", "a,b", "--rollouts", "4"}, {"one case"});
  refused({"plan", "--rollouts", "0"}, {"--rollouts", "'0'", "1 to"});
  refused({"plan", "--precision", "float16"}, {"float16", "bfloat16"});
  refused({"plan", "--precision", "int8"}, {"int8", "bfloat16"});
  refused({"plan", "--device", "tpu"}, {"'tpu'", "cpu"});
  refused({"plan", "--plans", "1000001"}, {"--plans", "1000000"});
  refused({"plan", "--seconds", "-1"}, {"--seconds", "'-1'", "above 0"});
  refused({"plan", "--seconds", "1", "--plans", "1"}, {"--plans", "--seconds"});
  refused({"scaling", "--sweep", "depth"}, {"'depth'", "threads"});
  refused({"diff-drive", "--rollouts", "10,x"}, {"--rollouts", "'x'"});
  refused({"train"}, {"TASK"});
  refused({"train", "Hoper"}, {"Hoper", "Hopper"});
  refused({"train", "Hopper", "--set", "planner.rolouts=3"}, {"planner.rolouts"});
  refused({"train", "Hopper", "--warmup", "x"}, {"--warmup", "'x'"});
  refused({"train", "Hopper", "--envs", "0"}, {"--envs", "'0'"});
  expect_error(run({"bench", "plan", "--device", "cuda"}), 1, {"CUDA"});
  expect_error(run({"bench", "plan", "--plans", "1", "--nets", "/nowhere/nets"}), 1, {"/nowhere"});
}

TEST(Bench, HelpExplains) {
  for (const char* name : {"plan", "scaling", "train", "diff-drive"}) {
    const Result result = run({"bench", name, "--help"});
    EXPECT_EQ(result.code, 0);
    EXPECT_NE(result.out.find("--json"), std::string::npos) << name;
    EXPECT_NE(result.out.find("--threads"), std::string::npos) << name;
  }
  const Result all = run({"bench", "--help"});
  EXPECT_EQ(all.code, 0);
  EXPECT_NE(all.out.find("diff-drive"), std::string::npos);
}

}  // namespace
}  // namespace softmpc::test
