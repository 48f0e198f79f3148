// SPDX-License-Identifier: Apache-2.0
// Tests for models/diagnostics.cpp: linear nets of known error, returns computed by hand, and what
// may not change a value. Resumed trainings: trainer_test.cpp.
#include "diagnostics.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/random_models.h"

namespace softmpc {
namespace {

using testing::Random;
using Values = std::map<std::string, double>;

constexpr int kNx = 2, kNu = 1;

/// r = x'_0; ends above 1.
struct Height final : RewardModel {
  void reward(ConstColumns, ConstColumns, ConstColumns next, int count, float* out) const override {
    std::copy_n(next[0], count, out);
  }
  bool has_termination() const override { return true; }
  void terminated(ConstColumns next, int count, std::uint8_t* out) const override {
    for (int j = 0; j < count; ++j) out[j] = next[0][j] > 1;
  }
};

/// Members x' = x + (a + offset, 2a), one for each offset; critics Q = x_0 + 10 a + value.
Bundle nets(const std::vector<float>& offsets, const std::vector<float>& values = {0}) {
  Bundle b;
  b.nx = kNx;
  b.nu = kNu;
  b.planner.horizon = 3;
  b.planner.gamma = 0.5;
  if (!offsets.empty())
    b.members = NetWeights::zeros(static_cast<int>(offsets.size()), NetSpec::mlp({3, 2}));
  for (std::size_t m = 0; m < offsets.size(); ++m) {
    b.members.weight(0)[m * 6 + 2] = 1;  // [E, out, in]
    b.members.weight(0)[m * 6 + 5] = 2;
    b.members.bias(0)[m * 2] = offsets[m];
  }
  b.critics = NetWeights::zeros(static_cast<int>(values.size()), NetSpec::mlp({3, 1}));
  for (std::size_t c = 0; c < values.size(); ++c) {
    b.critics.weight(0)[c * 3] = 1;
    b.critics.weight(0)[c * 3 + 2] = 10;
    b.critics.bias(0)[c] = values[c];
  }
  return b;
}

enum class Ends { no, terminated, truncated };

/// Diagnostics beside the replay that they read.
struct Case {
  explicit Case(int environments = 1, std::int64_t capacity = 10000, int threads = 1)
      : replay(kNx, kNu, 1, capacity),
        pool(threads),
        diagnostics(environments, std::make_unique<Height>()) {}

  void add(const std::vector<float>& x, float a, const std::vector<float>& next, float reward,
           Ends ends = Ends::no, double plan_value = 0) {
    const float action[] = {a}, plan[] = {0};
    replay.add(x, action, next, reward, ends == Ends::terminated, plan);
    diagnostics.add(plan_value, ends != Ends::no);
  }
  /// A step from 0 that stays there, where only the reward matters.
  void reward(float r, Ends ends = Ends::no) { add({0, 0}, 0, {0, 0}, r, ends); }
  /// The steps of `actions` as the member of offset 0 says.
  void episode(float x0, const std::vector<float>& actions) {
    std::vector<float> x = {x0, -x0};
    for (std::size_t t = 0; t < actions.size(); ++t) {
      const float a = actions[t];
      const std::vector<float> next = {x[0] + a, x[1] + 2 * a};
      add(x, a, next, next[0], t + 1 == actions.size() ? Ends::truncated : Ends::no);
      x = next;
    }
  }
  Values judge(const Bundle& following = nets({0})) {
    Values values;
    diagnostics.judge(replay, following, pool, values);
    return values;
  }

  Replay replay;
  ThreadPool pool;
  Diagnostics diagnostics;
};

std::vector<std::string> names(const Values& values) {
  std::vector<std::string> all;
  for (const auto& [name, value] : values) all.push_back(name);
  return all;
}

using Names = std::vector<std::string>;
constexpr double kRounding = 1e-5;

// The change has the deviations 1 and 2, over three steps too; offsets 0.1 and 0.3 err in the first
// component only. Between the episodes the state jumps.
TEST(Diagnostics, ErrorsOfKnownOffsets) {
  Case c;
  c.judge(nets({0.1f, 0.3f}));
  c.episode(0.25f, {1, -1, 1, -1, 1, -1});
  c.episode(50, {1, -1, 1, -1});
  Values v = c.judge();
  EXPECT_NEAR(v["model_rmse"], std::sqrt((0.01 + 0.09) / 2 / 2), kRounding);
  EXPECT_NEAR(v["model_spread"], std::sqrt(0.02 / 2), kRounding);
  EXPECT_NEAR(v["reward_rmse"], std::sqrt((0.01 + 0.09) / 2), kRounding);
  // members take turns; offset d has moved the state by d, 2d and 3d
  EXPECT_NEAR(v["model_rmse_horizon"], 3 * std::sqrt((0.01 + 0.09) / 2 / 2), kRounding);
  EXPECT_NEAR(v["reward_rmse_horizon"], (1 + 0.5 * 2 + 0.25 * 3) * std::sqrt((0.01 + 0.09) / 2),
              kRounding);
}

TEST(Diagnostics, ALearnedRewardIsTheMembers) {
  Case c;
  Bundle b = nets({0});
  b.members = NetWeights::zeros(1, NetSpec::mlp({3, 3}));
  b.outputs.reward = true;
  b.members.bias(0)[2] = 2;
  c.judge(b);
  for (float a : {1.0f, -1.0f, 1.0f}) c.add({0, 0}, a, {a, 2 * a}, 5);
  Values v = c.judge();
  EXPECT_NEAR(v["reward_rmse"], 3, kRounding);
  EXPECT_NEAR(v["reward_rmse_horizon"], 3 * 1.75, kRounding);
  EXPECT_FALSE(v.contains("model_spread")) << "of one member";
}

// A component that stands still has no unit, and an unchanged state no error at all.
TEST(Diagnostics, ComponentsWithoutChangeAreLeftOut) {
  Case c;
  c.judge(nets({0.1f}));
  for (float a : {1.0f, -1.0f, 1.0f, -1.0f}) c.add({3, 7}, a, {3 + a, 7}, 0);
  EXPECT_NEAR(c.judge()["model_rmse"], 0.1, kRounding);
  c.reward(1);
  EXPECT_FALSE(c.judge().contains("model_rmse"));
}

TEST(Diagnostics, TerminationsByTheMajorityOfMembers) {
  const auto judged = [](const std::vector<float>& offsets, bool handled,
                         const std::vector<float>& heights) {
    Case c;
    Bundle b = nets(offsets);
    b.planner.handle_terminations = handled;
    c.judge(b);
    for (float h : heights) c.add({0, 0}, h, {h, 0}, h, h > 1 ? Ends::terminated : Ends::no);
    return c.judge();
  };
  Values v = judged({0.2f, 0.2f, 0}, true, {0.9f, 0.1f, 0.5f, 1.1f});
  EXPECT_NEAR(v.at("terminations_invented"), 1.0 / 3, kRounding);
  EXPECT_EQ(v.at("terminations_missed"), 0);
  v = judged({-0.2f, -0.2f, 0}, true, {0.9f, 1.1f, 1.3f, 1.4f});
  EXPECT_EQ(v.at("terminations_invented"), 0);
  EXPECT_NEAR(v.at("terminations_missed"), 1.0 / 3, kRounding);
  EXPECT_FALSE(judged({0}, true, {0.9f}).contains("terminations_missed"));
  EXPECT_FALSE(judged({0}, true, {1.1f}).contains("terminations_invented"));
  EXPECT_FALSE(judged({0}, false, {0.9f, 1.1f}).contains("terminations_missed"));
}

// Rewards -1, 2, -4 of an episode that terminates: returns -1, 0, -4. Q = x_0 + 10 a + (3 + 5) / 2.
TEST(Diagnostics, BiasOfAnEpisodeComputedByHand) {
  Case c;
  c.judge(nets({}, {3, 5}));
  c.add({1, 0}, 0.1f, {2, 0}, -1, Ends::no, 5);
  c.add({2, 0}, 0.2f, {3, 0}, 2, Ends::no, 6);
  c.add({3, 0}, 0.6f, {9, 0}, -4, Ends::terminated, 10);
  Values v = c.judge();
  EXPECT_EQ(names(v),
            Names({"q_bias", "q_bias_share", "q_spread", "return_discounted", "value_bias"}));
  const double q = (6 + 8 + 13) / 3.0, followed = -5 / 3.0;
  EXPECT_NEAR(v["return_discounted"], followed, kRounding);
  EXPECT_NEAR(v["q_bias"], q - followed, kRounding);
  EXPECT_NEAR(v["q_bias_share"], (q - followed) / (5 / 3.0), kRounding);
  EXPECT_NEAR(v["q_spread"], std::sqrt(3.0), kRounding);  // variances 26/3 and 26/9
  EXPECT_NEAR(v["value_bias"], 7 - followed, kRounding);
}

TEST(Diagnostics, APolicyThatActsHasNoPlanToJudge) {
  Case c;
  Bundle b = nets({});
  b.acting = Acting::policy;
  c.judge(b);
  c.reward(1, Ends::terminated);
  EXPECT_EQ(names(c.judge()), Names({"q_bias", "q_bias_share", "return_discounted"}));
}

// gamma^5 = 0.03 is the first power below the share: of seven steps the first three count.
TEST(Diagnostics, StepsNearATruncationDoNotCount) {
  for (const bool truncated : {true, false}) {  // or not finished
    Case c;
    c.judge(nets({}));
    for (int t = 0; t < 7; ++t) c.reward(1, truncated && t == 6 ? Ends::truncated : Ends::no);
    EXPECT_NEAR(c.judge(nets({})).at("return_discounted"),
                2 - 2 * (std::pow(0.5, 7) + std::pow(0.5, 6) + std::pow(0.5, 5)) / 3, kRounding);
    for (int t = 0; t < 4; ++t) c.reward(1, truncated && t == 3 ? Ends::truncated : Ends::no);
    EXPECT_TRUE(c.judge().empty());
  }
}

// With gamma 1 nothing but a termination tells a return.
TEST(Diagnostics, WithoutDiscountOnlyTerminatedEpisodesCount) {
  Case c;
  Bundle b = nets({});
  b.planner.gamma = 1;
  c.judge(b);
  for (int t = 0; t < 50; ++t) c.reward(1, t == 1 ? Ends::terminated : Ends::no);
  EXPECT_NEAR(c.judge().at("return_discounted"), 1.5, kRounding);
}

TEST(Diagnostics, ReturnsBearTheCostOfATermination) {
  Case c;
  Bundle b = nets({}, {3});
  b.planner.termination_cost = 8;
  c.judge(b);
  for (int t = 0; t < 2; ++t) c.reward(1, t == 1 ? Ends::terminated : Ends::no);
  const auto values = c.judge();  // 1 + (1 - 8) / 2 and 1 - 8
  EXPECT_NEAR(values.at("return_discounted"), -4.75, kRounding);
  EXPECT_NEAR(values.at("q_bias"), 3 + 4.75, kRounding);
}

TEST(Diagnostics, EnvironmentsAreEpisodesOfTheirOwn) {
  Case c(2);
  c.judge(nets({}));
  c.reward(1);
  c.reward(100, Ends::terminated);
  c.reward(2);
  c.reward(200);
  c.reward(4, Ends::terminated);
  c.reward(400, Ends::terminated);
  const double first = (1 + 1 + 1) + (2 + 2) + 4, second = 100 + (200 + 200) + 400;
  EXPECT_NEAR(c.judge().at("return_discounted"), (first + second) / 6, 1e-3);
}

// Out of sample: the nets that were there before the transitions are judged, once.
TEST(Diagnostics, JudgesTheNetsOfTheLastCall) {
  Case c;
  c.reward(1, Ends::terminated);
  EXPECT_TRUE(c.judge(nets({}, {3})).empty());
  c.reward(1, Ends::terminated);
  EXPECT_NEAR(c.judge(nets({}, {4})).at("q_bias"), 2, kRounding);
  EXPECT_TRUE(c.judge(nets({}, {5})).empty()) << "nothing has come since";
  c.reward(2, Ends::terminated);
  EXPECT_NEAR(c.judge().at("q_bias"), 3, kRounding);
}

TEST(Diagnostics, TheWindowIsBounded) {
  for (const bool small_replay : {false, true}) {
    const std::int64_t window = small_replay ? 20 : Diagnostics::kWindow;
    Case c(1, small_replay ? window : 10000);
    c.judge(nets({}));
    for (int t = 0; t < 100; ++t) c.reward(1000, Ends::terminated);
    for (int t = 1; t <= window; ++t) c.reward(1, t == window ? Ends::terminated : Ends::no);
    const auto n = static_cast<double>(window);  // G_t = 2 - 2 0.5^(window - t)
    EXPECT_NEAR(c.judge().at("return_discounted"), 2 - 2 * (1 - std::pow(0.5, n)) / n, kRounding);
  }
}

/// Some hundred random transitions.
void fill(Case& c, std::uint64_t seed) {
  Random random(seed);
  for (int t = 0; t < 700; ++t)
    c.add(random.normals(kNx), random.normal(), random.normals(kNx), random.normal(),
          t % 40 == 39 ? Ends::terminated : Ends::no, random.normal());
}

Bundle random_nets(std::uint64_t seed) {
  Random random(seed);
  Bundle b = nets({0, 0, 0});
  b.planner.handle_terminations = true;
  b.members = NetWeights::zeros(3, NetSpec::mlp({3, 24, 24, 2}));
  b.critics = NetWeights::zeros(2, NetSpec::mlp({3, 24, 24, 1}));
  for (NetWeights* net : {&b.members, &b.critics}) {
    for (float& p : net->parameters) p = random.normal(0.3);
    for (float& s : net->normalisation.input_std) s = 2 + random.normal(0.1);
    for (float& m : net->normalisation.output_mean) m = random.normal(0.1);
  }
  return b;
}

TEST(Diagnostics, SameBitsForAnyNumberOfThreads) {
  Values one;
  for (int threads : {1, 2, 3}) {
    Case c(1, 10000, threads);
    c.judge(random_nets(1));
    fill(c, 2);
    const Values v = c.judge();
    EXPECT_EQ(v.size(), 12u);
    if (threads == 1) one = v;
    EXPECT_EQ(v, one) << threads << " threads";
  }
}

TEST(Diagnostics, AWindowGoesOnFromItsCheckpoint) {
  Case whole;
  whole.judge(random_nets(1));
  fill(whole, 2);
  TensorFile file;
  whole.diagnostics.save(file);
  fill(whole, 3);
  const Values expected = whole.judge();

  Case resumed;
  fill(resumed, 2);  // the replay's own; other rows than the checkpoint's are to go
  resumed.diagnostics.load(file, random_nets(4));
  fill(resumed, 3);
  EXPECT_EQ(resumed.judge(), expected);
}

TEST(Diagnostics, ACheckpointWithoutDiagnosticsStartsAWindow) {
  Case c;
  c.judge(random_nets(1));
  fill(c, 2);
  c.diagnostics.load({}, random_nets(1));
  fill(c, 3);
  EXPECT_TRUE(c.judge(random_nets(1)).empty());
  fill(c, 4);
  EXPECT_EQ(c.judge().size(), 12u);
}

TEST(Diagnostics, ACheckpointOfOtherShapesIsRefused) {
  Case c;
  c.judge(random_nets(1));
  TensorFile file;
  c.diagnostics.save(file);
  try {
    c.diagnostics.load(file, nets({0, 0, 0}));
    FAIL() << "loaded nets of another shape";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("diagnostics.members.parameters"), std::string::npos);
  }
}

// Nets that diverged are the planner's to report.
TEST(Diagnostics, NetsThatAreNotFiniteAreNotJudged) {
  Case c;
  Bundle b = nets({0});
  b.critics.bias(0)[0] = std::nanf("");
  c.judge(b);
  c.reward(1, Ends::terminated);
  EXPECT_TRUE(c.judge().empty());
}

}  // namespace
}  // namespace softmpc
