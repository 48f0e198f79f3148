// SPDX-License-Identifier: Apache-2.0
// Tests of softmpc bench: what its JSON holds and what it refuses. No test of a time: machines
// vary.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <numeric>
#include <random>
#include <set>
#include <tuple>

#include "../core/memory_limit.h"
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

/// Widths of a net from input to output.
using Net = std::vector<int>;

/// Counts, product by product, what plans of `problems` x `rollouts` over `horizon` need.
struct PlainCount {
  double evals = 0, values = 0, flops = 0;

  PlainCount(int problems, int rollouts, int horizon, int nx, const Net& model, const Net& critic) {
    for (int b = 0; b < problems; ++b)
      for (int k = 0; k < rollouts; ++k) {
        for (int t = 0; t < horizon; ++t, ++evals)
          each_product(model, [&](std::size_t layer, int o, int i) {
            // the same number for every rollout: whoever comes first computes it
            const bool shared = t == 0 && layer == 0 && i < nx;
            if (!shared || seen_.insert({b, o, i}).second) flops += 2;
          });
        each_product(critic, [&](std::size_t, int, int) { flops += 2; });
        ++values;
      }
  }

  template <class F>
  static void each_product(const Net& net, const F& f) {
    for (std::size_t layer = 0; layer + 1 < net.size(); ++layer)
      for (int o = 0; o < net[layer + 1]; ++o)
        for (int i = 0; i < net[layer]; ++i) f(layer, o, i);
  }

 private:
  std::set<std::tuple<int, int, int>> seen_;
};

double operations(const Net& net) {
  double sum = 0;
  PlainCount::each_product(net, [&](std::size_t, int, int) { sum += 2; });
  return sum;
}

/// Of one sample of an update: outputs, weights' gradient, inputs' gradient but the first layer's.
double update_operations(const Net& net) {
  return 3 * operations(net) - operations({net[0], net[1]});
}

void expect_times(const Json& c, std::size_t plans) {
  SCOPED_TRACE(c.dump());
  double last = 0;
  for (const char* key : {"p50", "p90", "p99", "p999", "max"}) {
    EXPECT_GE(c.at("time_us").at(key).get<double>(), last) << key;
    last = c.at("time_us").at(key).get<double>();
  }
  EXPECT_GT(last, 0);
  EXPECT_EQ(c.at("plans"), plans);
  // all plans in their total time, which lies between what the percentiles allow
  const double seconds = c.at("seconds").get<double>(), count = static_cast<double>(plans);
  EXPECT_LE(seconds, count * last * 1e-6 * (1 + 1e-9));
  EXPECT_GE(seconds, last * 1e-6 * (1 - 1e-9));
  EXPECT_DOUBLE_EQ(c.at("plans_per_second").get<double>(), count / seconds);
  for (const char* kind : {"evals", "values"}) {
    const double of_one = c.at("work").at(kind).get<double>();
    EXPECT_GT(of_one, 0);
    EXPECT_NEAR(c.at(std::string(kind) + "_per_second").get<double>() * seconds / count / of_one, 1,
                1e-9);
  }
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
  EXPECT_FALSE(result.at("compiler").get<std::string>().empty());
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
  // 200 (4 * 144,896 + 139,264), and the observation's 12 x 256 products once, not 200 times
  EXPECT_EQ(a.at("work").at("flops").get<double>(), 143769600 - 199 * 2 * 12 * 256);
  EXPECT_EQ(a.at("work").at("evals").get<double>(), 800);
  EXPECT_EQ(a.at("work").at("values").get<double>(), 200);
  EXPECT_NEAR(a["gflops"].get<double>() * 1e9 * a["seconds"].get<double>() / 25, 142546944, 10);
}

TEST(BenchPlan, CountsWhatAPlanNeeds) {
  const auto seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const auto draw = [&](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(random);
  };
  for (int round = 0; round < 3; ++round) {
    const int problems = draw(1, 4), rollouts = draw(1, 20), horizon = draw(1, 4);
    const int nx = draw(1, 9), nu = draw(1, 4), width = draw(1, 12), layers = draw(1, 3);
    Net model = {nx + nu}, critic = {nx + nu};
    for (Net* net : {&model, &critic}) net->insert(net->end(), layers, width);
    model.push_back(nx);
    critic.push_back(1);
    const PlainCount count(problems, rollouts, horizon, nx, model, critic);
    const auto word = [](int n) { return std::to_string(n); };
    const Json c = bench({"plan", "--problems", word(problems), "--rollouts", word(rollouts),
                          "--horizon", word(horizon), "--nx", word(nx), "--nu", word(nu), "--width",
                          word(width), "--layers", word(layers), "--plans", "2"})
                       .at("cases")
                       .at(0);
    SCOPED_TRACE(c.dump());
    EXPECT_EQ(c.at("work").at("evals").get<double>(), count.evals);
    EXPECT_EQ(c.at("work").at("values").get<double>(), count.values);
    EXPECT_EQ(c.at("work").at("flops").get<double>(), count.flops);
  }
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
  for (const char* word : {"case", "p99.9", "GFLOP/s", "values/s", "plain matrix product",
                           "latency of one plan", "float32"}) {
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
  EXPECT_EQ(result["cases"][1].at("work").at("evals"), 10000);
  EXPECT_EQ(result["cases"][1].at("work").at("values"), 100);
  EXPECT_FALSE(result["cases"][1].contains("gflops")) << "no net, no known work";
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
  const Net model = {15, 256, 256, 12}, critic = {15, 256, 256, 1};
  const double plans = PlainCount(1, 200, 4, 12, model, critic).flops +
                       PlainCount(32, 20, 4, 12, model, critic).flops;
  EXPECT_EQ(json.at("flops_per_step").get<double>(),
            plans + 32 * (4 * update_operations(model) + update_operations(critic)));
}

TEST(BenchTrain, CountsWhatTheSettingsAdd) {
  const Result result = run({"bench",
                             "train",
                             "Hopper",
                             "--preset",
                             "paper-gaussian",
                             "--steps",
                             "10",
                             "--warmup",
                             "2",
                             "--threads",
                             "1",
                             "--json",
                             "--set",
                             "model.width=8",
                             "--set",
                             "critic.width=16",
                             "--set",
                             "critic.count=2",
                             "--set",
                             "model.loss=gaussian_nll",
                             "--set",
                             "model.updates_per_step=3",
                             "--set",
                             "model.batch_size=5",
                             "--set",
                             "policy.width=4",
                             "--set",
                             "policy.layers=1",
                             "--set",
                             "planner.control_mode=policy_residual",
                             "--set",
                             "planner.member_draw=per_rollout",
                             "--set",
                             "planner.iterations=2"});
  if (result.err.find("no trainer") != std::string::npos)
    GTEST_SKIP() << "this build has no trainer";
  ASSERT_EQ(result.code, 0) << result.err;
  // variances are learned and not planned with; members drawn per rollout share no first step
  const Net planned = {15, 8, 8, 12}, learned = {15, 8, 8, 24}, critic = {15, 16, 16, 1};
  const Net policy = {12, 4, 3};
  const double rollout = 4 * operations(planned) + operations(critic) + 5 * operations(policy);
  const double plans =
      2 * 200 * rollout + operations(policy) + 2 * 32 * 20 * rollout;  // two target planners
  const double updates = 3 * 5 * 4 * update_operations(learned) +
                         2 * 32 * update_operations(critic) +
                         32 * (update_operations(policy) + 2 * operations(critic)) / 2;
  EXPECT_EQ(Json::parse(result.out).at("flops_per_step").get<double>(), plans + updates);
}

TEST(BenchTrain, CountsAPolicyThatProposesAndClimbsRollouts) {
  std::vector<std::string> words = {"bench",   "train", "Hopper",   "--preset", "paper-gaussian",
                                    "--steps", "10",    "--warmup", "2",        "--threads",
                                    "1",       "--json"};
  for (const char* setting :
       {"model.width=8", "critic.width=16", "policy.width=4", "policy.layers=1",
        "policy.update_interval=2", "planner.proposals=plan_and_policy", "policy.objective=rollout",
        "critic.imagined_steps=1", "targets.horizon=2", "planner.member_draw=per_rollout"})
    for (const char* word : {"--set", setting}) words.push_back(word);
  const Result result = run(words);
  if (result.err.find("no trainer") != std::string::npos)
    GTEST_SKIP() << "this build has no trainer";
  ASSERT_EQ(result.code, 0) << result.err;
  // the reward is learned too
  const Net model = {15, 8, 8, 13}, critic = {15, 16, 16, 1}, policy = {12, 4, 3};
  const auto rollout = [&](int steps) { return steps * operations(model) + operations(critic); };
  const auto proposal = [&](int steps) {
    return steps * operations(model) + (steps + 1) * operations(policy);
  };
  const double plans = 200 * rollout(4) + proposal(4) + 32 * (20 * rollout(2) + proposal(2));
  const double climb = update_operations(policy) + 2 * operations(critic) +
                       2 * (2 * operations(model) + 3 * operations(policy));
  EXPECT_EQ(Json::parse(result.out).at("flops_per_step").get<double>(),
            plans + 32 * (4 * update_operations(model) + 2 * update_operations(critic) +
                          operations(critic) + proposal(2) / 2 + climb / 2));
}

TEST(BenchTrain, StepsBeforeTheFirstUpdateAreNotTimed) {
  expect_error(run({"bench", "train", "Hopper", "--preset", "paper-gaussian", "--steps", "5",
                    "--warmup", "19", "--set", "trainer.learning_starts=20"}),
               2, {"--warmup", "19", "trainer.learning_starts 20"});
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
  refused({}, {"plan, scaling, train, update, diff-drive, loop, soak"});
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

TEST(Bench, MoreThanMemoryIsAnErrorAtOnce) {
  if (!kLimitsWork) GTEST_SKIP() << "a sanitizer lets no address space be limited";
  const ProgramOptions little = {.most_memory = 2'000'000'000};
  expect_error(run({"bench", "plan", "--case", "a", "--threads", "1024"}, little), 1,
               {"threads: ", "of 1024 could start", "--threads"});
  expect_error(run({"bench", "plan", "--rollouts", "1048576", "--horizon", "1000"}, little), 1,
               {"planner: 1048576 rollouts x 1001 steps x 3 actions need 12.6 GB",
                "ulimit -v leaves", "fewer rollouts"});
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
