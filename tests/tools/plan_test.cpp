// SPDX-License-Identifier: Apache-2.0
// Tests of softmpc plan: its output, bad states, damaged bundles.
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "pendulum_bundle.h"
#include "program.h"

namespace softmpc::test {
namespace {

using Json = nlohmann::json;

class Plan : public testing::Test {
 protected:
  void SetUp() override { save_bundle(pendulum_bundle(), bundle_); }

  Result plan(const std::string& states, const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments = {"plan", bundle_, "--state", "-"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    ProgramOptions options;
    options.input = states;
    return run(arguments, options);
  }

  Folder folder_;
  std::string bundle_ = folder_.file("model.safetensors");
};

TEST_F(Plan, JsonHasOnePlanAState) {
  const Result result = plan("[[0, 0, 0, 0], [0.1, -0.05, 0, 0], [1, 0, 0, 1]]", {"--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.err, "");
  const Json plans = Json::parse(result.out).at("plans");
  ASSERT_EQ(plans.size(), 3u);
  for (const Json& one : plans) {
    EXPECT_EQ(one.size(), 6u);
    ASSERT_EQ(one.at("action").size(), 1u);
    EXPECT_LE(std::abs(one.at("action")[0].get<double>()), 3.0);
    EXPECT_EQ(one.at("status"), "ok");
    EXPECT_TRUE(one.at("value").is_number());
    ASSERT_EQ(one.at("plan").size(), 4u);
    EXPECT_EQ(one.at("plan")[3].size(), 1u);
    EXPECT_EQ(one.at("action")[0], one.at("plan")[0][0]);  // inside the box: not clipped
    EXPECT_GE(one.at("effective_samples").get<double>(), 1.0);
    EXPECT_EQ(one.at("valid_share"), 1.0);
  }
}

TEST_F(Plan, IsAFunctionOfTheSeed) {
  const std::string state = "[[0.01, 0, 0, 0]]";
  const std::string first = plan(state, {"--json"}).out;
  EXPECT_EQ(plan(state, {"--json"}).out, first);
  EXPECT_EQ(plan(state, {"--json", "--seed", "1"}).out, first);
  EXPECT_NE(plan(state, {"--json", "--seed", "2"}).out, first);
}

TEST_F(Plan, ReadsAFileAndARunFolder) {
  write_file(folder_.file("states.json"), "[[0.01, 0, 0, 0]]\n");
  const Result result = run({"plan", folder_.path(), "--state", folder_.file("states.json")});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_NE(result.out.find("effective samples"), std::string::npos);
}

TEST_F(Plan, BadStatesNameRowAndRule) {
  const auto refused = [&](const char* states, const std::vector<std::string>& parts) {
    SCOPED_TRACE(states);
    const Result result = plan(states, {"--json"});
    expect_error(result, 1, parts);
    EXPECT_EQ(result.out, "");
  };
  refused("[[0, 0, 0, 0], [0, NaN, 0, 0]]", {"row 1, entry 1", "NaN", "finite"});
  refused("[[0, 0, 0, -Infinity]]", {"row 0, entry 3", "-Infinity", "finite"});
  refused("[[0, 0, 0, 1e39]]", {"row 0, entry 3", "finite"});
  refused("[[0, 0, 0, 1e999]]", {"standard input", "too large"});
  refused("[[0, 0, \"x\", 0]]", {"row 0, entry 2", "finite"});
  refused("[[0, 0, null, 0]]", {"row 0, entry 2", "null"});
  refused("[[0, 0, [0], 0]]", {"row 0, entry 2"});
  refused("[[0, 0, 0, 0], [0, 0, 0]]", {"row 1 has 3 numbers", "4 numbers"});
  refused("[[0, 0, 0, 0, 0]]", {"row 0 has 5 numbers", "4 numbers"});
  refused("[[]]", {"row 0 has 0 numbers"});
  refused("[0, 0, 0, 0]", {"row 0 is no array", "[[...], ...]"});
  refused("[]", {"no state"});
  refused("{\"a\": 1}", {"no array"});
  refused("7", {"no array"});
  refused("", {"standard input", "empty"});
  refused("[[0, 0, 0, 0]", {"not JSON", "truncated"});
  refused("[[0, 0,, 0, 0]]", {"not JSON", "line 1, column 8"});
  expect_error(run({"plan", bundle_, "--state", folder_.file("none.json")}), 1,
               {"none.json", "No such file"});
}

TEST_F(Plan, DamagedBundlesAreNamed) {
  const std::string whole = read_file(bundle_);
  const std::string path = folder_.file("damaged.safetensors");
  const auto refused = [&](const std::string& bytes, const std::string& what) {
    SCOPED_TRACE(what);
    write_file(path, bytes);
    ProgramOptions options;
    options.input = "[[0, 0, 0, 0]]";
    expect_error(run({"plan", path, "--state", "-"}, options), 1, {"damaged.safetensors"});
  };
  refused("", "empty");
  refused(whole.substr(0, 5), "cut in the length");
  refused(whole.substr(0, 100), "cut in the header");
  refused(whole.substr(0, whole.size() - 1), "cut in the data");
  refused(whole + "x", "longer");
  for (const std::size_t at :
       {std::size_t{0}, std::size_t{7}, std::size_t{9}, whole.size() / 2, whole.size() - 1}) {
    std::string bytes = whole;
    bytes[at] = static_cast<char>(bytes[at] ^ 0x40);
    refused(bytes, "byte " + std::to_string(at));
  }
  expect_error(run({"eval", path}), 1, {"damaged.safetensors"});
  expect_error(run({"eval", folder_.file("none.safetensors")}), 1, {"none", "No such file"});
  std::filesystem::remove(bundle_);
  expect_error(run({"eval", folder_.path()}), 1, {folder_.path(), "without model.safetensors"});
}

TEST_F(Plan, TaskOfTheBundleMustBeKnown) {
  Bundle bundle = pendulum_bundle();
  bundle.task = "MyRobot";
  save_bundle(bundle, bundle_);
  expect_error(plan("[[0, 0, 0, 0]]"), 1, {"model.safetensors", "'MyRobot'"});
}

/// A short training of the pendulum with small nets; the path of its run folder.
std::string trained(const Folder& folder, const std::vector<std::string>& settings) {
  const std::string out = folder.file("run");
  std::vector<std::string> arguments = {"train", "pendulum", "--steps", "50", "--threads",
                                        "1",     "--quiet",  "--out",   out};
  for (const char* setting : {"model.width=16", "critic.width=16", "planner.rollouts=20"})
    arguments.insert(arguments.end(), {"--set", setting});
  for (const std::string& setting : settings) arguments.insert(arguments.end(), {"--set", setting});
  const Result result = run(arguments);
  EXPECT_EQ(result.code, 0) << result.err;
  return out;
}

Json plans_of(const std::string& bundle, const std::string& seed) {
  ProgramOptions options;
  options.input = "[[1, 0, 0], [0, 1, 0]]";
  const Result result = run({"plan", bundle, "--state", "-", "--seed", seed, "--json"}, options);
  EXPECT_EQ(result.code, 0) << result.err;
  return result.code == 0 ? Json::parse(result.out).at("plans") : Json::array();
}

TEST(PlanOfARun, LooksAheadWithTheEnvironmentWhereTrainingDid) {
  const Folder folder;
  const std::string out = trained(folder, {"model.source=environment"});
  const std::string file = out + "/model.safetensors";
  Bundle bundle = load_bundle(file);
  EXPECT_EQ(bundle.members.stack, 0);
  const Json plans = plans_of(out, "1");
  ASSERT_EQ(plans.size(), 2u);
  for (const Json& one : plans) EXPECT_EQ(one.at("status"), "ok");
  EXPECT_EQ(run({"eval", out, "--episodes", "1", "--threads", "1"}).code, 0);
  // where no task can give its dynamics, that is said in a line
  bundle.task = "of one's own";
  bundle.outputs.reward = true;
  const std::string without = folder.file("without.safetensors");
  save_bundle(bundle, without);
  ProgramOptions options;
  options.input = "[[1, 0, 0]]";
  EXPECT_EQ(run({"plan", without, "--state", "-"}, options).code, 1);
}

TEST(PlanOfARun, PrintsThePolicysActionWhereThatActed) {
  const Folder folder;
  const std::string out = trained(folder, {"trainer.acting=policy", "policy.width=16"});
  const Json one = plans_of(out, "1"), other = plans_of(out, "2");
  ASSERT_EQ(one.size(), 2u);
  for (std::size_t i = 0; i < one.size(); ++i) {
    EXPECT_EQ(one[i].at("action"), other[i].at("action"));  // a policy draws nothing
    EXPECT_NE(one[i].at("plan"), other[i].at("plan"));
  }
}

}  // namespace
}  // namespace softmpc::test
