// SPDX-License-Identifier: Apache-2.0
// Tests of softmpc verify: the golden files pass, changed ones do not, malformed ones are named.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>

#include "program.h"

namespace softmpc::test {
namespace {

using Json = nlohmann::json;

std::string golden(const std::string& name) { return std::string(SOFTMPC_GOLDEN_DIR) + "/" + name; }

std::vector<std::string> golden_files(const std::string& kind) {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(golden(kind))) {
    if (entry.path().extension() == ".json") files.push_back(entry.path().string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

/// One change to a golden file, and what must be said of it.
struct Change {
  const char* file;
  std::vector<std::string> parts;
  std::function<void(Json&)> change;
};

/// Verifies all changed files at once; the JSON report of each.
std::vector<Json> verify_changed(const std::vector<Change>& changes) {
  const Folder folder;
  std::vector<std::string> arguments = {"verify", "--json"};
  for (std::size_t i = 0; i < changes.size(); ++i) {
    Json document = Json::parse(read_file(golden(changes[i].file)));
    changes[i].change(document);
    arguments.push_back(folder.file("changed" + std::to_string(i) + ".json"));
    write_file(arguments.back(), document.dump());
  }
  const Result result = run(arguments);
  expect_error(result, 1, {"changed0.json", std::to_string(changes.size() - 1) + " more files"});
  const auto reports = Json::parse(result.out).at("files").get<std::vector<Json>>();
  EXPECT_EQ(reports.size(), changes.size());
  return reports;
}

constexpr const char* kEnv = "env/InvertedPendulum.json";
constexpr const char* kPositions = "env/Hopper.json";
constexpr const char* kPlan = "plan/hopper_uniform.json";
constexpr const char* kTwoIterations = "plan/hopper_gaussian_batch_two_iterations.json";

TEST(Verify, GoldenFilesPass) {
  for (const auto& [kind, count] : {std::pair{"env", 11}, {"plan", 12}}) {
    std::vector<std::string> arguments = {"verify", "--json"};
    for (const std::string& file : golden_files(kind)) arguments.push_back(file);
    const Result result = run(arguments);
    EXPECT_EQ(result.code, 0) << result.err;
    const Json report = Json::parse(result.out);
    EXPECT_TRUE(report.at("pass").get<bool>());
    EXPECT_EQ(report.at("files").size(), static_cast<std::size_t>(count));
    for (const Json& file : report.at("files")) {
      for (const auto& [name, quantity] : file.at("quantities").items()) {
        EXPECT_LE(quantity.at("of_tolerance").get<double>(), 1) << file.at("file") << name;
      }
    }
  }
}

TEST(Verify, PrintsErrorsPerQuantity) {
  const Result result = run({"verify", golden(kEnv), golden(kPlan)});
  EXPECT_EQ(result.code, 0) << result.err;
  for (const char* part : {"PASS", "observation", "reward", "terminated", "qpos_end", "cost",
                           "value", "plan_out", "valid", "2 of 2 files pass"}) {
    EXPECT_NE(result.out.find(part), std::string::npos) << part;
  }
}

void add(Json& number, double by) { number = number.get<double>() + by; }
void negate(Json& flag) { flag = !flag.get<bool>(); }

/// `parts`: the quantity that must fail, and where.
const Change kChangedNumbers[] = {
    {kEnv,
     {"observation", "episodes[1].observations[3][2]"},
     [](Json& file) { add(file["episodes"][1]["observations"][3][2], 1e-5); }},
    {kEnv,
     {"reward", "episodes[0].rewards[5]"},
     [](Json& file) { add(file["episodes"][0]["rewards"][5], 1e-5); }},
    {kEnv,
     {"terminated", "episodes[2].terminated[7]"},
     [](Json& file) { negate(file["episodes"][2]["terminated"][7]); }},
    {kEnv,
     {"qvel_end", "episodes[0].qvel_end[0]"},
     [](Json& file) { add(file["episodes"][0]["qvel_end"][0], 1e-2); }},
    {kPositions,
     {"observation", "episodes[3].with_positions.observations[4][0]"},
     [](Json& file) { add(file["episodes"][3]["with_positions"]["observations"][4][0], 1e-3); }},
    {kPlan,
     {"cost", "iterations[0].cost[0][7]"},
     [](Json& file) { add(file["iterations"][0]["cost"][0][7], 0.01); }},
    {kPlan,
     {"value", "iterations[0].value[0]"},
     [](Json& file) { add(file["iterations"][0]["value"][0], 0.01); }},
    {kPlan,
     {"plan_out", "iterations[0].plan_out[0][5]"},
     [](Json& file) { add(file["iterations"][0]["plan_out"][0][1][2], 0.01); }},
    {kPlan,
     {"valid", "iterations[0].valid[0][4]"},
     [](Json& file) { negate(file["iterations"][0]["valid"][0][4]); }},
    {kTwoIterations,
     {"plan_in", "iterations[1].plan_in[2][0]"},
     [](Json& file) { add(file["iterations"][1]["plan_in"][2][0][0], 0.01); }},
    // a network of two layers instead of three is read, and gives other numbers
    {kPlan,
     {"cost", "iterations[0].cost"},
     [](Json& file) {
       for (Json& member : file["members"]) member.erase(1);
     }},
};

TEST(Verify, ChangedNumbersFail) {
  const std::vector<Change> changes(std::begin(kChangedNumbers), std::end(kChangedNumbers));
  const std::vector<Json> reports = verify_changed(changes);
  for (std::size_t i = 0; i < reports.size(); ++i) {
    const std::string& name = changes[i].parts[0];
    SCOPED_TRACE(name);
    ASSERT_TRUE(reports[i].contains("quantities")) << reports[i].dump();
    EXPECT_FALSE(reports[i].at("pass").get<bool>());
    const Json& quantity = reports[i].at("quantities").at(name);
    EXPECT_FALSE(quantity.at("pass").get<bool>());
    EXPECT_TRUE(quantity.at("where").get<std::string>().starts_with(changes[i].parts[1]))
        << quantity.dump();
  }
}

/// `parts`: what the message must hold.
const Change kMalformed[] = {
    {kEnv, {"'kind'", "missing"}, [](Json& file) { file.erase("kind"); }},
    {kEnv, {"'kind'", "'other'"}, [](Json& file) { file["kind"] = "other"; }},
    {kEnv, {"'task'", "'Hoper'", "'Hopper'"}, [](Json& file) { file["task"] = "Hoper"; }},
    {kEnv,
     {"'tolerance.first.abs'", "missing"},
     [](Json& file) { file["tolerance"]["first"].erase("abs"); }},
    {kEnv,
     {"'episodes[0].actions'", "missing"},
     [](Json& file) { file["episodes"][0].erase("actions"); }},
    {kEnv,
     {"'episodes[0].actions[4]'", "2 elements"},
     [](Json& file) { file["episodes"][0]["actions"][4].push_back(0.5); }},
    {kEnv,
     {"'episodes[0].qpos0[1]'", "NaN", "finite number"},
     [](Json& file) { file["episodes"][0]["qpos0"][1] = "NaN"; }},
    {kEnv,
     {"'episodes[1].observations'", "elements"},
     [](Json& file) { file["episodes"][1]["observations"].erase(0); }},
    {kEnv, {"'episodes'", "empty"}, [](Json& file) { file["episodes"] = Json::array(); }},
    {kEnv, {"'episodes'", "array"}, [](Json& file) { file["episodes"] = 3; }},
    {kPlan, {"'task'", "'nothing'"}, [](Json& file) { file["task"] = "nothing"; }},
    {kPlan,
     {"'task'", "Humanoid", "no function of the observation"},
     [](Json& file) { file["task"] = "Humanoid"; }},
    {kPlan, {"'critic[1].weight'"}, [](Json& file) { file["critic"][1].erase("weight"); }},
    {kPlan,
     {"'members[1][0].weight[3]'", "elements"},
     [](Json& file) { file["members"][1][0]["weight"][3].push_back(1); }},
    {kPlan, {"'members'", "empty"}, [](Json& file) { file["members"] = Json::array(); }},
    {kPlan,
     {"'iterations[0].member[2]'", "whole number"},
     [](Json& file) { file["iterations"][0]["member"][2] = 99; }},
    {kPlan,
     {"'iterations[0].noise'", "elements"},
     [](Json& file) { file["iterations"][0]["noise"].push_back(1); }},
    {kPlan,
     {"'iterations[0].valid'", "missing"},
     [](Json& file) { file["iterations"][0].erase("valid"); }},
    {kPlan, {"'rollouts'", "whole number"}, [](Json& file) { file["rollouts"] = 1e30; }},
    {kPlan, {"'prior'", "gaussian, uniform"}, [](Json& file) { file["prior"] = "flat"; }},
    {kPlan, {"temperature"}, [](Json& file) { file["temperature"] = -1; }},
    {kPlan,
     {"'variance'", "elements"},
     [](Json& file) {
       file["variance"] = {0.1, 0.1};
     }},
    {kPlan, {"'control_mode'", "mean_residual"}, [](Json& file) { file["control_mode"] = "none"; }},
    {kPlan, {"'actor'"}, [](Json& file) { file["control_mode"] = "mu"; }},
    {kPlan,
     {"'observation[0]'", "elements"},
     [](Json& file) { file["observation"][0].push_back(0); }},
};

TEST(Verify, MalformedFilesAreNamed) {
  const std::vector<Change> changes(std::begin(kMalformed), std::end(kMalformed));
  const std::vector<Json> reports = verify_changed(changes);
  for (std::size_t i = 0; i < reports.size(); ++i) {
    ASSERT_TRUE(reports[i].contains("error")) << changes[i].parts[0] << reports[i].dump();
    const auto error = reports[i].at("error").get<std::string>();
    EXPECT_NE(error.find("changed" + std::to_string(i) + ".json"), std::string::npos) << error;
    for (const std::string& part : changes[i].parts) {
      EXPECT_NE(error.find(part), std::string::npos) << "no " << part << " in " << error;
    }
  }
}

TEST(Verify, TextThatIsNoJson) {
  const Folder folder;
  const std::string whole = read_file(golden(kPlan));
  const std::string path = folder.file("broken.json");
  const auto refused = [&](const std::string& text, const char* part) {
    write_file(path, text);
    expect_error(run({"verify", path}), 1, {"broken.json", part});
  };
  refused("", "empty");
  refused("hello", "not JSON");
  refused(whole.substr(0, whole.size() / 2), "truncated");
  refused("[1, 2]", "must be an object");
  refused(std::string(100000, '['), "not JSON");
  expect_error(run({"verify", folder.file("none.json")}), 1, {"none.json", "No such file"});
  expect_error(run({"verify", folder.path()}), 1, {folder.path(), "cannot read"});
}

TEST(Verify, GoesOnAfterABadFile) {
  const Result result = run({"verify", "none.json", golden(kEnv)});
  expect_error(result, 1, {"none.json"});
  EXPECT_NE(result.out.find("PASS"), std::string::npos);
  EXPECT_NE(result.out.find("1 of 2 files pass"), std::string::npos);
}

}  // namespace
}  // namespace softmpc::test
