// SPDX-License-Identifier: Apache-2.0
// Tests of softmpc explain: that it explains the plan of softmpc plan, its output, bad states.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "pendulum_bundle.h"
#include "program.h"

namespace softmpc::test {
namespace {

using Json = nlohmann::json;

class Explain : public testing::Test {
 protected:
  void SetUp() override { save_bundle(pendulum_bundle(), bundle_); }

  Result explain(const std::string& state, const std::vector<std::string>& more = {}) {
    return run_on("explain", state, more);
  }
  Result run_on(const char* command, const std::string& state,
                const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {command, bundle_, "--state", "-"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    ProgramOptions options;
    options.input = state;
    return run(arguments, options);
  }
  Json explained(const std::string& state, const std::vector<std::string>& more = {"--json"}) {
    const Result result = explain(state, more);
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_EQ(result.err, "");
    return Json::parse(result.out);
  }
  /// The bundle with other settings.
  template <class F>
  void change(const F& f) {
    Bundle bundle = pendulum_bundle();
    f(bundle);
    save_bundle(bundle, bundle_);
  }

  Folder folder_;
  std::string bundle_ = folder_.file("model.safetensors");
};

double number(const Json& object, const char* key) { return object.at(key).get<double>(); }

/// S, return and weights of the document from its own rewards and terms.
void check_sums(const Json& document, const PlannerConfig& c) {
  double weights = 0;
  for (const Json& r : document.at("rollouts")) {
    weights += number(r, "weight");
    double gain = 0, discount = 1;
    for (const Json& reward : r.at("rewards")) {
      gain += discount * reward.get<double>();
      discount *= c.gamma;
    }
    gain += discount * number(r, "terminal_value");
    EXPECT_NEAR(number(r, "return"), gain, 1e-4 * (1 + std::abs(gain)));
    EXPECT_NEAR(number(r, "cost"), number(r, "prior_term") - gain, 1e-4 * (1 + std::abs(gain)));
    EXPECT_EQ(r.at("members").size(), static_cast<std::size_t>(c.horizon));
    EXPECT_EQ(r.at("states").size(), static_cast<std::size_t>(c.horizon) + 1);
    EXPECT_EQ(r.at("actions").size(), static_cast<std::size_t>(c.horizon) + 1);
  }
  EXPECT_NEAR(weights, 1, 1e-9);
  EXPECT_EQ(document.at("check").at("agrees"), true);
}

TEST_F(Explain, IsOfThePlanThatPlanMakes) {
  for (const char* seed : {"1", "7"}) {
    const Json document = explained("[0.01, 0, -0.1, 0]", {"--json", "--seed", seed});
    const Result planned = run_on("plan", "[[0.01, 0, -0.1, 0]]", {"--json", "--seed", seed});
    const Json plan = Json::parse(planned.out).at("plans").at(0);
    for (const char* key :
         {"action", "value", "status", "plan", "effective_samples", "valid_share"})
      EXPECT_EQ(document.at(key), plan.at(key)) << key;
    EXPECT_EQ(document.at("rollouts").size(), 30u);
    EXPECT_EQ(document.at("state"), Json({0.01, 0.0, -0.1, 0.0}));
    check_sums(document, pendulum_bundle().planner);
  }
}

TEST_F(Explain, HoldsForOtherSettings) {
  const auto check = [&](const char* what, const auto& f) {
    SCOPED_TRACE(what);
    change(f);
    Bundle bundle = pendulum_bundle();
    f(bundle);
    const Json document = explained("0.01 0 -0.1 0");
    check_sums(document, bundle.planner);
    const Result text = explain("0.01 0 -0.1 0");
    EXPECT_EQ(text.code, 0) << text.err;
    for (const std::string& line : lines_of(text.out)) {
      if (!line.starts_with("bundle")) {
        EXPECT_LE(line.size(), 100u) << line;
      }
    }
  };
  check("iterations", [](Bundle& b) { b.planner.iterations = 3; });
  check("uniform prior, far out", [](Bundle& b) {
    b.planner.prior = Prior::uniform;
    b.planner.variance = {4};
  });
  check("particles, long", [](Bundle& b) {
    b.planner.particles = 2;
    b.planner.member_draw = MemberDraw::per_rollout_step;
    b.planner.horizon = 12;
  });
  check("proposals, terminations", [](Bundle& b) {
    b.policy = networks(1, {4, 8, 1});
    b.planner.proposals = Proposals::plan_and_policy;
    b.planner.handle_terminations = true;
  });
}

TEST_F(Explain, TheUniformPriorLeavesRolloutsOut) {
  change([](Bundle& b) {
    b.planner.prior = Prior::uniform;
    b.planner.variance = {4};
  });
  const Json document = explained("0 0 0 0");
  int left = 0;
  for (const Json& r : document.at("rollouts")) {
    const bool out = r.at("fate") == "left the bounds";
    left += out;
    EXPECT_EQ(out, !r.at("first_outside").is_null());
    EXPECT_EQ(out, number(r, "clipped") > 0);
    EXPECT_EQ(out, number(r, "weight") == 0);
  }
  EXPECT_GT(left, 0);
  EXPECT_NEAR(number(document, "valid_share"), (30 - left) / 30.0, 1e-9);
  EXPECT_NE(explain("0 0 0 0", {"--top", "30"}).out.find("left the bounds"), std::string::npos);
}

TEST_F(Explain, EndedRolloutsSayWhen) {
  change([](Bundle& b) { b.planner.handle_terminations = true; });
  const Json document = explained("0 0.5 0 0");  // fallen
  for (const Json& r : document.at("rollouts")) {
    EXPECT_EQ(r.at("end"), 0);
    EXPECT_EQ(r.at("terminal_value"), 0.0);
  }
}

TEST_F(Explain, PrintsAsManyRolloutsAsWanted) {
  const auto rows = [&](const char* top) {
    const std::string out = explain("0 0 0 0", {"--top", top}).out;
    return lines_of(out).size();
  };
  EXPECT_EQ(rows("5") - rows("4"), 2u);  // a row of sums, one of rewards
  EXPECT_EQ(explain("0 0 0 0", {"--top", "0"}).code, 0);
  EXPECT_EQ(rows("1000"), rows("30"));
  expect_error(explain("0 0 0 0", {"--top", "x"}), 2, {"--top", "'x'", "whole number"});
}

TEST_F(Explain, ReadsStatesAsPeopleWriteThem) {
  const std::string expected = explain("[0.5, 0, -1, 0]", {"--json"}).out;
  for (const char* state :
       {"0.5 0 -1 0", "0.5,0,-1,0\n", " 5e-1\n0\n-1\n0\n", "+.5, 0., -1, 0", "\n[0.5,0,-1,0]\n"})
    EXPECT_EQ(explain(state, {"--json"}).out, expected) << state;
  write_file(folder_.file("state.txt"), "0.5 0 -1 0");
  const Result result = run({"explain", folder_.path(), "--state", folder_.file("state.txt")});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_NE(result.out.find("effective samples"), std::string::npos);
}

TEST_F(Explain, BadStatesNameEntryAndRule) {
  const auto refused = [&](const char* state, const std::vector<std::string>& parts) {
    SCOPED_TRACE(state);
    const Result result = explain(state, {"--json"});
    expect_error(result, 1, parts);
    EXPECT_EQ(result.out, "");
  };
  refused("", {"standard input", "0 numbers", "4 numbers"});
  refused("1 2 3", {"3 numbers", "4 numbers (InvertedPendulum)"});
  refused("[1, 2, 3, 4, 5]", {"5 numbers"});
  refused("0 nan 0 0", {"entry 1", "nan", "finite"});
  refused("[0, 0, NaN, 0]", {"entry 2", "NaN", "finite"});
  refused("0 0 0 1e39", {"entry 3", "finite"});
  refused("0 0 0 1x", {"entry 3 is 1x", "finite"});
  refused("[[0, 0, 0, 0]]", {"1 numbers"});
  refused("[0, 0, 0", {"not JSON"});
  refused("{\"a\": 1}", {"no array"});
  expect_error(run({"explain", bundle_, "--state", folder_.file("none.txt")}), 1,
               {"none.txt", "No such file"});
  expect_error(run({"explain", folder_.file("none"), "--state", "-"}), 1, {"none"});
  expect_error(run({"explain", bundle_}), 2, {"--state"});
}

}  // namespace
}  // namespace softmpc::test
