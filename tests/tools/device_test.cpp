// SPDX-License-Identifier: Apache-2.0
// What --device cuda does, by the program whose device is the emulator: golden files pass, plans
// agree with the CPU's, the benchmark says what ran. No test of a time.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "pendulum_bundle.h"
#include "program.h"
#include "softmpc/bundle.h"

namespace softmpc::test {
namespace {

using Json = nlohmann::json;

Json run_json(std::vector<std::string> arguments, const std::string& input = "") {
  arguments.push_back("--json");
  ProgramOptions options;
  options.input = input;
  const Result result = run(arguments, options);
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.err, "");
  return Json::parse(result.out);
}

Json verify(const std::vector<std::string>& more) {
  std::vector<std::string> arguments = {"verify", "--device", "cuda"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const std::string folder = std::string(SOFTMPC_GOLDEN_DIR) + "/plan";
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".json") arguments.push_back(entry.path().string());
  }
  return run_json(arguments);
}

TEST(DeviceVerify, GoldenFilesPassInEachPrecision) {
  for (const char* precision : {"float32", "float16", "bfloat16"}) {
    SCOPED_TRACE(precision);
    const Json report = verify({"--precision", precision});
    EXPECT_EQ(report.at("device"), "cuda");
    EXPECT_EQ(report.at("precision"), precision);
    EXPECT_TRUE(report.at("pass").get<bool>());
    EXPECT_EQ(report.at("files").size(), 12u);
    for (const Json& file : report.at("files")) {
      const Json& quantities = file.at("quantities");
      EXPECT_TRUE(quantities.contains(precision == std::string("float32") ? "cost" : "weights"));
    }
  }
}

TEST(DeviceVerify, AForcedPathMustFitThePrecision) {
  EXPECT_TRUE(verify({"--precision", "float16", "--path", "tile"}).at("pass").get<bool>());
  const std::string file = std::string(SOFTMPC_GOLDEN_DIR) + "/plan/hopper_gaussian.json";
  expect_error(run({"verify", "--device", "cuda", "--path", "tile", file}), 1,
               {"hopper_gaussian.json", "path tile", "float32"});
  expect_error(run({"verify", "--device", "cuda", "--path", "fast", file}), 2,
               {"--path", "'fast'", "auto, tile, cluster, wgmma, plain"});
}

TEST(DeviceBench, SaysWhatRan) {
  const Json result = run_json({"bench", "plan", "--device", "cuda", "--rollouts", "16",
                                "--horizon", "2", "--width", "32", "--plans", "12"});
  EXPECT_EQ(result.at("device"), "cuda");
  EXPECT_EQ(result.at("precision"), "float16");
  EXPECT_FALSE(result.at("device_name").get<std::string>().empty());
  EXPECT_FALSE(result.contains("matrix")) << "no ceiling is measured on a device";
  const Json& c = result.at("cases").at(0);
  EXPECT_EQ(c.at("name"), "custom");
  EXPECT_EQ(c.at("rollouts"), 16);
  EXPECT_EQ(c.at("plans"), 12);
  EXPECT_FALSE(c.contains("share"));
  for (const char* key : {"p50", "p90", "p99", "p999", "max"})
    EXPECT_GT(c.at("time_us").at(key).get<double>(), 0) << key;
  const Json& device = c.at("device_us");
  EXPECT_GT(device.at("least").get<double>(), 0);
  EXPECT_LE(device.at("least"), device.at("q25"));
  EXPECT_LE(device.at("q25"), device.at("median"));
  EXPECT_LE(device.at("median"), device.at("q75"));
  EXPECT_EQ(device.at("blocks"), 20);
  EXPECT_GE(device.at("replays").get<int>(), 1);
  const Json& alone = c.at("device_latency_us");
  EXPECT_GE(alone.at("plans").get<int>(), 3);
  EXPECT_GT(alone.at("p50").get<double>(), 0);
  EXPECT_LE(alone.at("p50"), alone.at("max"));
  EXPECT_EQ(c.at("path"), "tile");
  for (const char* key : {"evals_per_second", "values_per_second", "gflops",
                          "device_evals_per_second", "device_gflops", "create_seconds"})
    EXPECT_GT(c.at(key).get<double>(), 0) << key;
  for (const char* key :
       {"why", "registers", "shared_bytes", "blocks", "kernels", "compile_seconds", "load_seconds"})
    EXPECT_TRUE(c.contains(key)) << key;
}

// What is timed is what the CPU computes, on every path.
TEST(DeviceBench, ComparesWhatItTimes) {
  const auto agreement = [](const std::vector<std::string>& more) {
    std::vector<std::string> line = {"bench", "plan",      "--device", "cuda",    "--horizon",
                                     "3",     "--members", "3",        "--plans", "1"};
    line.insert(line.end(), more.begin(), more.end());
    return run_json(line)["cases"][0];
  };
  for (const char* path : {"tile", "wgmma"}) {
    const Json c =
        agreement({"--path", path, "--problems", "5", "--rollouts", "40", "--width", "64"});
    EXPECT_EQ(c.at("path"), path);
    const Json& a = c.at("agreement");
    EXPECT_EQ(a.at("problems"), 5);
    EXPECT_EQ(a.at("rollouts"), 40);
    EXPECT_GT(a.at("largest").get<double>(), 0) << "16-bit products round";
    EXPECT_LT(a.at("largest").get<double>(), 0.2) << path;
    EXPECT_LE(a.at("median"), a.at("p99"));
    EXPECT_LE(a.at("p99"), a.at("largest"));
  }
  const Json exact =
      agreement({"--precision", "float32", "--problems", "2", "--rollouts", "24", "--width", "24"});
  EXPECT_LT(exact.at("agreement").at("largest").get<double>(), 1e-3);
}

TEST(DeviceBench, TakesThePrecisionsAndTheQuadraticReward) {
  const Json exact =
      run_json({"bench", "plan", "--device", "auto", "--precision", "float32", "--nx", "5", "--nu",
                "2", "--rollouts", "8", "--horizon", "2", "--width", "24", "--plans", "3"});
  EXPECT_EQ(exact.at("device"), "cuda") << "auto is cuda where there is one";
  EXPECT_EQ(exact["cases"][0].at("path"), "plain");
  EXPECT_EQ(exact["cases"][0].at("reward"), "quadratic");
  const Result table = run({"bench", "plan", "--device", "cuda", "--precision", "bfloat16",
                            "--rollouts", "8", "--horizon", "2", "--width", "32", "--plans", "3"});
  EXPECT_EQ(table.code, 0) << table.err;
  for (const char* word : {"device", "p99.9", "tile", "bfloat16"})
    EXPECT_NE(table.out.find(word), std::string::npos) << word << " in " << table.out;
}

TEST(DeviceBench, SaysWhatADeviceDoesNot) {
  expect_error(run({"bench", "scaling", "--device", "cuda"}), 1, {"for the CPU", "bench plan"});
  expect_error(run({"bench", "plan", "--device", "cuda", "--threads", "2"}), 2, {"--threads"});
}

TEST(DeviceBench, DiffDrivePlansAsOnTheCpu) {
  const std::vector<std::string> line = {"bench", "diff-drive", "--rollouts", "32", "--plans", "3"};
  const auto on = [&](const std::string& device) {
    std::vector<std::string> arguments = line;
    arguments.insert(arguments.end(), {"--device", device});
    return run_json(arguments);
  };
  const Json cpu = on("cpu"), device = on("cuda");
  EXPECT_EQ(device.at("device"), "cuda");
  const Json& c = device.at("cases").at(0);
  EXPECT_GT(c.at("device_us").at("median").get<double>(), 0);
  EXPECT_TRUE(c.contains("path") && c.contains("why") && c.contains("create_seconds"));
  EXPECT_NEAR(c.at("last_value").get<double>(), cpu["cases"][0].at("last_value").get<double>(),
              1e-3);
}

/// Networks of a pendulum with all weights different and no training.
Bundle pendulum() {
  const auto networks = [](int stack, const std::vector<int>& widths) {
    NetWeights weights = NetWeights::zeros(stack, NetSpec::mlp(widths));
    std::uint32_t state = 1;
    for (int l = 0; l < weights.layers(); ++l) {
      for (float& weight : weights.weight(l)) {
        state = 1664525u * state + 1013904223u;
        weight = 0.4f * (static_cast<float>(state >> 8) / 8388608.0f - 1);
      }
    }
    return weights;
  };
  Bundle bundle = pendulum_bundle();
  bundle.members = networks(2, {5, 16, 16, 4});
  bundle.critics = networks(1, {5, 16, 16, 1});
  bundle.planner.rollouts = 48;
  return bundle;
}

TEST(DevicePlan, AgreesWithTheCpu) {
  const Folder folder;
  const std::string bundle = folder.file("model.safetensors");
  save_bundle(pendulum(), bundle);
  const std::string states = "[[0, 0, 0, 0], [0.1, -0.05, 0, 0], [1, 0, 0, 1]]";
  const std::vector<std::string> plan = {"plan", bundle, "--state", "-"};
  const auto on = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = plan;
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_json(arguments, states);
  };
  const Json cpu = on({});
  EXPECT_EQ(cpu.at("device"), "cpu");
  for (const auto& [precision, tolerance] : {std::pair{"float32", 1e-4}, {"float16", 1e-2}}) {
    SCOPED_TRACE(precision);
    const Json device = on({"--device", "cuda", "--precision", precision});
    EXPECT_TRUE(device.at("device").get<std::string>().starts_with("cuda ("));
    ASSERT_EQ(device.at("plans").size(), 3u);
    for (std::size_t i = 0; i < 3; ++i) {
      const Json &expected = cpu["plans"][i], &found = device["plans"][i];
      EXPECT_EQ(found.at("status"), "ok");
      EXPECT_NEAR(found.at("value").get<double>(), expected.at("value").get<double>(), tolerance);
      for (std::size_t t = 0; t < 4; ++t)
        EXPECT_NEAR(found["plan"][t][0].get<double>(), expected["plan"][t][0].get<double>(),
                    tolerance);
    }
  }
  // 16 bits unless another is asked for; the CPU keeps to the bundle's
  const Json unasked = on({"--device", "cuda"});
  EXPECT_EQ(unasked.at("precision"), "float16");
  EXPECT_EQ(unasked.at("plans"), on({"--device", "cuda", "--precision", "float16"}).at("plans"));
  EXPECT_EQ(cpu.at("precision"), "float32");
}

TEST(DeviceKernels, LieBesideTheBundle) {
  const Folder folder;
  const std::string bundle = folder.file("model.safetensors");
  const std::string kernels = folder.file("model.kernels");
  save_bundle(pendulum(), bundle);
  const Result made = run({"kernels", bundle, "--arch", "sm_87,sm_90", "--json"});
  if (made.err.find("NVRTC") != std::string::npos ||
      made.err.find("has no CUDA") != std::string::npos)
    GTEST_SKIP() << made.err;
  ASSERT_EQ(made.code, 0) << made.err;
  const Json said = Json::parse(made.out);
  EXPECT_EQ(said.at("file"), kernels);
  EXPECT_GE(said.at("kernels").get<int>(), 6);
  EXPECT_GT(said.at("bytes").get<int>(), 0);
  const std::vector<std::string> plan = {"plan", bundle, "--state", "-", "--device", "cuda"};
  run_json(plan, "[[0, 0, 0, 0]]");
  // one that cannot be read is named, not passed over
  write_file(kernels, "no kernels");
  ProgramOptions input;
  input.input = "[[0, 0, 0, 0]]";
  expect_error(run(plan, input), 1, {kernels});
  EXPECT_EQ(run({"eval", bundle, "--episodes", "1"}).code, 0) << "the CPU does not ask for them";
}

TEST(DeviceKernels, AreOfAKnownArchitecture) {
  const Folder folder;
  const std::string bundle = folder.file("model.safetensors");
  Bundle acting = pendulum();
  save_bundle(acting, bundle);
  const auto kernels = [&](const std::string& architectures) {
    return run({"kernels", bundle, "--arch", architectures});
  };
  expect_error(kernels("90"), 2, {"--arch", "'90'", "as sm_87"});
  expect_error(kernels("sm_87,"), 2, {"--arch", "''"});
  expect_error(kernels(""), 2, {"--arch", "empty"});
  expect_error(run({"kernels", bundle}), 2, {"--arch"});
  expect_error(run({"kernels", bundle, "--arch", "sm_90", "--precision", "int8"}), 2,
               {"--precision", "'int8'"});
  acting.members = {};
  save_bundle(acting, bundle);
  expect_error(kernels("sm_90"), 1, {bundle, "environment", "no kernels"});
  EXPECT_FALSE(std::filesystem::exists(folder.file("model.kernels")));
}

/// The command of a small run.
std::vector<std::string> training(const std::string& out, const std::string& device,
                                  const std::vector<std::string>& more, const std::string& steps) {
  std::vector<std::string> arguments = {
      "train", "InvertedPendulum", "--preset", "paper-gaussian", "--steps",
      steps,   "--device",         device,     "--out",          out};
  for (const char* setting :
       {"planner.rollouts=24", "planner.horizon=3", "planner.temperature=0.5", "targets.rollouts=6",
        "model.width=16", "critic.width=16", "model.members=3", "model.batch_size=8",
        "critic.batch_size=8", "environment.time_limit=6"})
    arguments.insert(arguments.end(), {"--set", setting});
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

/// Trains so many steps and gives the bundle.
Bundle trained(const std::string& out, const std::string& device,
               const std::vector<std::string>& more, const std::string& steps = "10") {
  const Result result = run(training(out, device, more, steps));
  EXPECT_EQ(result.code, 0) << result.err;
  return load_bundle(out + "/model.safetensors");
}

void expect_same_nets(const Bundle& some, const Bundle& other) {
  for (const auto& [found, expected] :
       {std::pair{&some.members, &other.members}, std::pair{&some.critics, &other.critics}}) {
    ASSERT_EQ(found->parameters.size(), expected->parameters.size());
    double difference = 0, size = 0;
    for (std::size_t i = 0; i < found->parameters.size(); ++i) {
      difference += std::pow(found->parameters[i] - expected->parameters[i], 2.0);
      size += std::pow(expected->parameters[i], 2.0);
    }
    EXPECT_LT(std::sqrt(difference / size), 1e-4);
  }
}

TEST(DeviceTrain, TrainsOnTheProgramsDeviceAsOnTheCpu) {
  const Folder folder;
  const std::string out = folder.file("cuda");
  const std::vector<std::string> exact = {"--set", "planner.precision=float32"};
  const Bundle device = trained(out, "cuda", exact), cpu = trained(folder.file("cpu"), "cpu", {});
  EXPECT_EQ(Json::parse(read_file(out + "/config.json")).at("trainer").at("device"), "cuda");
  EXPECT_TRUE(std::filesystem::exists(out + "/checkpoint"));
  expect_same_nets(device, cpu);
}

// A run whose device is lost goes on from its checkpoint on another, and back.
TEST(DeviceTrain, GoesOnOnAnotherDevice) {
  const Folder folder;
  const std::vector<std::string> exact = {"--set", "planner.precision=float32"};
  const Bundle whole = trained(folder.file("whole"), "cpu", {}, "20");
  const std::string out = folder.file("run");
  const auto plans = [&out] {
    const Json config = Json::parse(read_file(out + "/config.json"));
    return std::pair(config.at("trainer").at("device").get<std::string>(),
                     config.at("planner").at("precision").get<std::string>());
  };
  using Plans = std::pair<std::string, std::string>;
  trained(out, "cuda", exact, "8");
  trained(out, "cpu", {"--resume"}, "14");
  EXPECT_EQ(plans(), Plans("cpu", "float32"));
  const Bundle moved = trained(out, "cuda", {"--resume", exact[0], exact[1]}, "20");
  EXPECT_EQ(plans(), Plans("cuda", "float32"));
  expect_same_nets(moved, whole);
  // the precision is the new device's own unless one is set, and is kept where the device is
  trained(out, "cpu", {"--resume"}, "21");
  trained(out, "cuda", {"--resume"}, "22");
  EXPECT_EQ(plans(), Plans("cuda", "float16"));
  expect_error(run({"train", "InvertedPendulum", "--preset", "paper-gaussian", "--out", out,
                    "--resume", "--set", "planner.precision=float32"}),
               2, {"'planner.precision' is \"float32\"", "float16"});
}

TEST(DeviceTrain, ALostDeviceCostsTheStepsSinceTheLastCheckpoint) {
  const Folder folder;
  const std::string out = folder.file("run");
  const std::vector<std::string> exact = {"--set", "planner.precision=float32", "--set",
                                          "trainer.checkpoint_interval=4"};
  setenv("SOFTMPC_TEST_LOST_AT", "60", 1);
  const Result lost = run(training(out, "cuda", exact, "40"));
  unsetenv("SOFTMPC_TEST_LOST_AT");
  expect_error(lost, 1, {"lost", "--out " + out + " --resume", "--device cpu"});
  ASSERT_TRUE(std::filesystem::exists(out + "/checkpoint")) << "it was lost too soon for this test";
  const Bundle moved = trained(out, "cpu", {"--resume"}, "40");
  EXPECT_EQ(Json::parse(moved.provenance).at("step"), 40);
  expect_same_nets(moved, trained(folder.file("whole"), "cpu", {}, "40"));
  // the log has each episode of six steps once: none is missing, none twice
  std::vector<int> ends;
  for (const std::string& line : lines_of(read_file(out + "/metrics.jsonl"))) {
    const Json j = Json::parse(line);
    if (j.at("kind") == "episode") ends.push_back(j.at("step").get<int>());
  }
  EXPECT_EQ(ends, (std::vector<int>{6, 12, 18, 24, 30, 36}));
}

TEST(DeviceTrain, PlansWithSixteenBitsUnlessAskedForMore) {
  const Folder folder;
  const std::string out = folder.file("run");
  const auto precision = [&out] {
    return Json::parse(read_file(out + "/config.json")).at("planner").at("precision");
  };
  const Bundle device = trained(out, "cuda", {});
  EXPECT_EQ(precision(), "float16");
  EXPECT_EQ(device.planner.precision, Precision::float32) << "which any machine can play";
  // a resumed run keeps what it has
  trained(out, "cuda", {"--resume"});
  EXPECT_EQ(precision(), "float16");
}

TEST(DeviceTrain, RefusesWhatItCannotTrain) {
  const Folder folder;
  for (const auto& [setting, key] :
       {std::pair{"trainer.learner=torch", "trainer.learner"},
        {"planner.control_mode=policy_residual", "planner.control_mode"},
        {"targets.source=policy", "targets.source"},
        {"trainer.acting=policy", "trainer.acting"},
        {"model.source=environment", "model.source"}})
    expect_error(run({"train", "InvertedPendulum", "--device", "cuda", "--out", folder.file("run"),
                      "--set", setting}),
                 2, {key, "CUDA device", "trainer.device cpu"});
}

}  // namespace
}  // namespace softmpc::test
