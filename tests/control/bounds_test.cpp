// SPDX-License-Identifier: Apache-2.0
// Tests Controller::set_bounds: what is sent and what is looked ahead with, equality with a bundle
// of these bounds, states and swaps, wrong input.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "control/controllers.h"
#include "softmpc/runner.h"

namespace softmpc {
namespace {

using namespace testing;

struct Box {
  std::vector<float> low, high;
  bool holds(std::span<const float> action) const {
    bool inside = true;
    for (std::size_t i = 0; i < low.size(); ++i)
      inside &= action[i] >= low[i] && action[i] <= high[i];
    return inside;
  }
};

/// A reward that looks at each action that rollouts take.
class Watcher final : public RewardModel {
 public:
  Watcher(const RewardModel& model, const Box& box) : model_(model), box_(box) {}
  int outside() const { return outside_; }
  bool throws = false;

  void reward(ConstColumns x, ConstColumns a, ConstColumns next, int count,
              float* out) const override {
    if (throws) throw std::runtime_error("a user's reward");
    for (std::size_t i = 0; i < box_.low.size(); ++i)
      for (int j = 0; j < count; ++j) {
        const float action = a[static_cast<int>(i)][j];
        outside_ += !(action >= box_.low[i] && action <= box_.high[i]);
      }
    model_.reward(x, a, next, count, out);
  }

 private:
  const RewardModel& model_;
  const Box& box_;
  mutable std::atomic<int> outside_{0};
};

struct Bounds : SmallController {
  const Box tight = {{-0.25f, -0.5f}, {0.75f, 0.125f}};

  static std::vector<double> play(Controller& c, int from, int to) {
    std::vector<double> out;
    for (int tick = from; tick < to; ++tick) {
      const auto x = observation(tick);
      const Plan& plan = c.plan({.observation = x, .state_time = kStart + tick * kStep * 7 / 10});
      const auto some = numbers(plan);
      out.insert(out.end(), some.begin(), some.end());
      out.insert(out.end(), plan.predicted.begin(), plan.predicted.end());
    }
    return out;
  }
  static bool set(Controller& c, const Box& box) { return c.set_bounds(box.low, box.high); }
  static std::vector<std::byte> saved(const Controller& c) {
    std::vector<std::byte> bytes(c.state_size());
    EXPECT_TRUE(c.save_state(bytes));
    return bytes;
  }
};

// Where n is the same, a bundle of these bounds gives the same plans to the bit.
TEST_F(Bounds, ABundleOfTheseBoundsPlansTheSame) {
  const auto same = [&](const char* name, const Box& box, auto change) {
    SCOPED_TRACE(name);
    Bundle wide = bundle;
    change(wide);
    Bundle narrow = wide;
    narrow.action_low = box.low;
    narrow.action_high = box.high;
    const ControllerOptions options = {.rest = {0, 0.125f}, .want_predicted = true};
    Controller tightened(wide, &nets.reward, options),
        from_the_start(narrow, &nets.reward, options);
    play(tightened, 0, 3);
    ASSERT_TRUE(set(tightened, box));
    tightened.reset();
    play(from_the_start, 0, 3);
    from_the_start.reset();
    EXPECT_EQ(play(tightened, 3, 9), play(from_the_start, 3, 9));
    EXPECT_EQ(tightened.statistics().clipped > 0, from_the_start.statistics().clipped > 0);
  };
  same("gaussian", tight, [](Bundle&) {});
  same("uniform", tight, [](Bundle& b) { b.planner.prior = Prior::uniform; });
  same("iterations", tight, [](Bundle& b) { b.planner.iterations = 3; });
  same("particles", tight, [](Bundle& b) {
    b.planner.member_draw = MemberDraw::per_rollout;
    b.planner.particles = 2;
  });
  same("residual", tight, [](Bundle& b) { b.planner.control_mode = ControlMode::mean_residual; });
  const auto correlated = [](Bundle& b) { b.planner.covariance = {{0.4, 0.1}, {0.1, 0.2}}; };
  same("covariance", tight, correlated);
  same("uniform covariance", tight, [&](Bundle& b) {
    correlated(b);
    b.planner.prior = Prior::uniform;
  });
  for (const Prior prior : {Prior::gaussian, Prior::uniform})
    same("fixed", {{-0.5f, 0.125f}, {0.25f, 0.125f}}, [&](Bundle& b) {
      b.planner.neutral = {0, 0.125};
      b.planner.prior = prior;
    });
}

// Trouble of all kinds under bounds that change, with each fallback.
TEST_F(Bounds, NothingLeavesThem) {
  Random chance(5);
  Box box;
  Watcher watcher(nets.reward, box);
  ControllerOptions options = {.want_predicted = true};
  options.max_rate = {30, 30};
  options.max_state_age = milliseconds(500);
  options.on_fallback = [&](PlanStatus, std::span<const float>, std::span<float> action) {
    for (float& a : action) a = chance.normal(3);
  };
  options.validate = [&](std::span<const float>, const Plan& plan) {
    EXPECT_TRUE(box.holds(plan.action));
    return chance.whole(0, 20) == 0 ? Verdict::reject : Verdict::send;
  };
  std::uint64_t fallbacks = 0;
  for (int kind = 0; kind < 4; ++kind) {
    options.fallback = static_cast<Fallback>(kind);
    box = {bundle.action_low, bundle.action_high};  // of the trial at the start
    watcher.throws = false;
    Controller controller(bundle, &watcher, options);
    Nanoseconds time = kStart;
    for (int tick = 0; tick < 2'500; ++tick) {
      if (tick % 7 == 0) {
        for (int i = 0; i < 2; ++i) {
          const double a = chance.real(-1, 1.5), b = chance.real(-1, 1.5);
          box.low[i] = static_cast<float>(std::min(a, b));
          box.high[i] = chance.whole(0, 5) == 0 ? box.low[i] : static_cast<float>(std::max(a, b));
        }
        ASSERT_TRUE(set(controller, box));
        EXPECT_TRUE(box.holds(controller.rest()));
      }
      time += milliseconds(chance.whole(0, 200));
      auto x = observation(tick);
      if (chance.whole(0, 9) == 0) x[1] = std::nanf("");
      watcher.throws = chance.whole(0, 9) == 0;
      const auto deadline =
          chance.whole(0, 9) == 0 ? SolveBudget::Clock::time_point{} : no_deadline;
      const Plan& plan = controller.plan({.observation = x,
                                          .state_time = time,
                                          .deadline = deadline,
                                          .now = time + milliseconds(chance.whole(0, 520))});
      ASSERT_TRUE(box.holds(plan.action)) << kind << " " << tick;
    }
    fallbacks += controller.statistics().fallbacks;
  }
  EXPECT_GT(fallbacks, 2'000u);
  EXPECT_EQ(watcher.outside(), 0);
}

TEST_F(Bounds, ProposalsAndPoliciesKeepToThem) {
  bundle.policy = nets.policy_weights;
  Box box = tight;
  const Watcher watcher(nets.reward, box);
  for (const bool proposals : {true, false}) {
    if (proposals)
      bundle.planner.proposals = Proposals::plan_and_policy;
    else
      bundle.planner.control_mode = ControlMode::policy_residual;
    box = {bundle.action_low, bundle.action_high};  // of the trial at the start
    Controller controller(bundle, &watcher, {});
    box = tight;
    ASSERT_TRUE(set(controller, box));
    for (int tick = 0; tick < 30; ++tick)
      EXPECT_TRUE(box.holds(controller.plan(observation(tick)).action));
    bundle.planner.proposals = Proposals::plan;
  }
  EXPECT_EQ(watcher.outside(), 0);
}

TEST_F(Bounds, ARunnersLaterStepsKeepToThem) {
  Controller controller = make({.rest = {1, -1}});
  ASSERT_TRUE(set(controller, tight));
  Runner runner(std::move(controller));
  std::vector<float> action(2);
  for (int tick = 0; tick < 20; ++tick) {
    const Nanoseconds now = kStart + tick * kStep;
    runner.submit(observation(tick), now);
    for (int step = 0; step < 6; ++step) {
      runner.command_at(now + step * kStep, action);
      EXPECT_TRUE(tight.holds(action)) << tick << " " << step;
    }
  }
  Controller back = runner.stop();
  EXPECT_EQ(copy(back.action_low()), tight.low);
}

TEST_F(Bounds, TheyGoWithAState) {
  Controller first = make(), second = make();
  ASSERT_TRUE(set(first, tight));
  play(first, 0, 4);
  const auto bytes = saved(first), wide = saved(second);
  ASSERT_TRUE(second.load_state(bytes));
  EXPECT_EQ(saved(second), bytes);
  EXPECT_EQ(copy(second.action_high()), tight.high);
  EXPECT_EQ(play(second, 4, 9), play(first, 4, 9));
  ASSERT_TRUE(second.load_state(wide));
  EXPECT_EQ(copy(second.action_high()), bundle.action_high);
  Controller fresh = make();
  EXPECT_EQ(play(second, 0, 5), play(fresh, 0, 5));
  // bounds that a controller cannot have
  bundle.action_low = {-0.125f, -1};
  Controller other = make();
  const auto before = saved(other);
  EXPECT_FALSE(other.load_state(bytes));
  EXPECT_EQ(saved(other), before);
  EXPECT_EQ(copy(other.action_low()), bundle.action_low);
}

TEST_F(Bounds, ASwapAndAResetKeepThem) {
  Bundle next = bundle;
  next.planner.rollouts = 60;
  Controller controller = make(), expected(next, &nets.reward);
  play(controller, 0, 2);
  Prepared prepared(controller, next);  // in the box of the bundle
  ASSERT_TRUE(set(controller, tight));
  controller.swap(prepared);
  ASSERT_TRUE(expected.load_state(saved(controller)));
  EXPECT_EQ(play(controller, 2, 9), play(expected, 2, 9));
  controller.reset();
  EXPECT_EQ(copy(controller.action_low()), tight.low);
  ASSERT_TRUE(set(controller, {bundle.action_low, bundle.action_high}));
  controller.swap(prepared);  // the first nets, which knew the tight ones
  Controller wide = make();
  ASSERT_TRUE(wide.load_state(saved(controller)));
  EXPECT_EQ(play(controller, 9, 12), play(wide, 9, 12));
}

TEST_F(Bounds, OnlyBoundsInsideTheBoxAreTaken) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  Controller controller = make();
  ASSERT_TRUE(set(controller, tight));
  const auto before = saved(controller);
  const std::vector<Box> wrong = {
      {{}, {}},
      {{0}, {1}},
      {{0, 0}, {1}},
      {{0, 0, 0}, {1, 1, 1}},
      {{0, std::nanf("")}, {1, 1}},
      {{0, 0}, {std::nanf(""), 1}},
      {{0.5f, 0}, {0.25f, 1}},
      {{-1.0625f, 0}, {1, 1}},
      {{0, 0}, {1, 1.5625f}},
      {{-kInfinity, 0}, {1, 1}},
      {{0, 0}, {1, kInfinity}},
      {{2, 0}, {2, 1}},
  };
  for (std::size_t k = 0; k < wrong.size(); ++k) {
    EXPECT_FALSE(set(controller, wrong[k])) << k;
    EXPECT_EQ(saved(controller), before) << k;
  }
  EXPECT_EQ(copy(controller.action_low()), tight.low);
  EXPECT_EQ(copy(controller.action_high()), tight.high);
  EXPECT_EQ(controller.shape().action_low, bundle.action_low);
  // infinite ones are bounds where the box has them
  bundle.action_high = {kInfinity, 1.5f};
  Controller endless = make();
  EXPECT_TRUE(set(endless, {{0, 0}, {kInfinity, 1}}));
  EXPECT_FALSE(set(endless, {{kInfinity, 0}, {kInfinity, 1}}));
}

}  // namespace
}  // namespace softmpc
