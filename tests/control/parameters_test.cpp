// SPDX-License-Identifier: Apache-2.0
// Tests Controller::set_parameters: equality with a reward that has them from the beginning, one
// reward for several controllers, states and swaps, wrong input.
#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "control/controllers.h"
#include "softmpc/rules.h"

// clang-format off
SOFTMPC_RULES(kGoalRule,
namespace softmpc::testing {
// Parameters: where to go, where it ends.
struct GoalRule {
  static constexpr bool has_termination = true;
  SOFTMPC_HD explicit GoalRule(const float* p) : goal(p[0]), end(p[1]) {}
  template <class X, class A, class N>
  SOFTMPC_HD float reward(const X&, const A& a, const N& next) const {
    return -(next[0] - goal) * (next[0] - goal) - 0.1f * a[0] * a[0];
  }
  template <class N>
  SOFTMPC_HD bool terminated(const N& next) const { return next[1] > end; }
  float goal;
  float end;
};
})
// clang-format on

namespace softmpc {
namespace {

using namespace testing;

struct Parameters : SmallController {
  using Goal = RuleReward<GoalRule>;
  const std::vector<float> first = {0.5f, 0.8f}, other = {-2, 0.1f};
  const Goal reward{kGoalRule, first};

  Parameters() { bundle.planner.handle_terminations = true; }
  Controller with(const RewardModel& model) const { return Controller(bundle, &model); }
  static std::vector<double> play(Controller& c, int from, int to) {
    std::vector<double> out;
    for (int tick = from; tick < to; ++tick) {
      const auto some = numbers(c.plan(observation(tick)));
      out.insert(out.end(), some.begin(), some.end());
    }
    return out;
  }
  static std::vector<std::byte> saved(const Controller& c) {
    std::vector<std::byte> bytes(c.state_size());
    EXPECT_TRUE(c.save_state(bytes));
    return bytes;
  }
};

TEST_F(Parameters, TheyAreTheRewardsForOneController) {
  const Goal having(kGoalRule, other);
  Controller given = with(reward), own = with(having), untouched = with(reward);
  ASSERT_TRUE(given.set_parameters(other));
  const auto expected = play(own, 0, 8);
  EXPECT_EQ(play(given, 0, 8), expected);
  EXPECT_NE(play(untouched, 0, 8), expected);
  ASSERT_TRUE(given.set_parameters(first));
  EXPECT_NE(play(given, 8, 12), play(own, 8, 12));
}

TEST_F(Parameters, UntilThenTheRewardsOwnHold) {
  Goal changing(kGoalRule, first);
  const Goal having(kGoalRule, other);
  Controller controller = with(changing), own = with(having);
  changing.set_parameters(other);
  EXPECT_EQ(play(controller, 0, 4), play(own, 0, 4));
  ASSERT_TRUE(controller.set_parameters(other));
  changing.set_parameters(first);
  EXPECT_EQ(play(controller, 4, 8), play(own, 4, 8));
}

TEST_F(Parameters, TheyGoWithAStateAndStayOverASwap) {
  Controller one = with(reward), two = with(reward);
  const auto without = saved(two);
  ASSERT_TRUE(one.set_parameters(other));
  play(one, 0, 3);
  const auto bytes = saved(one);
  ASSERT_TRUE(two.load_state(bytes));
  EXPECT_EQ(saved(two), bytes);
  Prepared prepared(two, bundle);
  two.swap(prepared);
  one.reset();
  two.reset();
  EXPECT_EQ(play(two, 3, 8), play(one, 3, 8));
  ASSERT_TRUE(two.load_state(without));
  Controller fresh = with(reward);
  EXPECT_EQ(play(two, 0, 4), play(fresh, 0, 4));
}

TEST_F(Parameters, OnlyAsManyFiniteNumbersAsItHasAreTaken) {
  Controller controller = with(reward);
  ASSERT_TRUE(controller.set_parameters(other));
  const auto before = saved(controller);
  const float infinity = std::numeric_limits<float>::infinity();
  for (const std::vector<float>& wrong : std::vector<std::vector<float>>{
           {}, {1}, {1, 2, 3}, {std::nanf(""), 1}, {1, infinity}, {-infinity, 1}}) {
    EXPECT_FALSE(controller.set_parameters(wrong));
    EXPECT_EQ(saved(controller), before);
  }
  struct Plain final : RewardModel {
    void reward(ConstColumns, ConstColumns, ConstColumns, int count, float* out) const override {
      for (int j = 0; j < count; ++j) out[j] = 0;
    }
    bool has_termination() const override { return true; }
  } plain;
  Controller without = with(plain);
  EXPECT_FALSE(without.set_parameters({}));
  EXPECT_FALSE(without.set_parameters(other));
  EXPECT_FALSE(without.load_state(before));
}

TEST_F(Parameters, ProposalsFollowThem) {
  bundle.policy = nets.policy_weights;
  bundle.planner.proposals = Proposals::plan_and_policy;
  const Goal having(kGoalRule, other);
  Controller given = with(reward), own = with(having);
  ASSERT_TRUE(given.set_parameters(other));
  EXPECT_EQ(play(given, 0, 5), play(own, 0, 5));
}

}  // namespace
}  // namespace softmpc
