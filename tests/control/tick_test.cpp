// SPDX-License-Identifier: Apache-2.0
// Tests Controller::plan(PlanRequest): the same bits as plan(observation) where nothing is wrong,
// guards, every fallback, the validator, limits on the command, counters.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "control/controllers.h"
#include "softmpc/error.h"

namespace softmpc {
namespace {

using namespace testing;

struct Tick : SmallController {
  const float nan = std::nanf("");
  std::vector<float> bad() const { return {0, nan, 0, 0}; }
};

TEST_F(Tick, WithoutTroubleItGivesTheBitsOfThePlainCall) {
  Controller plain = make(), timed = make(), untimed = make();
  for (int tick = 0; tick < 20; ++tick) {
    const auto x = observation(tick);
    const auto expected = numbers(plain.plan(x));
    EXPECT_EQ(numbers(timed.plan({.observation = x, .state_time = kStart + tick * kStep})),
              expected);
    const Plan& plan = untimed.plan(PlanRequest{.observation = x});
    EXPECT_EQ(numbers(plan), expected);
    EXPECT_EQ(plan.rollouts_used, 40);
    EXPECT_EQ(plan.iterations_done, 1);
    EXPECT_EQ(plan.index, static_cast<std::uint64_t>(tick));
    EXPECT_EQ(plan.bundle_hash, bundle_hash(bundle));
    EXPECT_GT(plan.duration.count(), 0);
    EXPECT_FALSE(plan.from_fallback);
  }
  EXPECT_EQ(timed.statistics().plans, 20u);
  EXPECT_EQ(timed.statistics().of(PlanStatus::ok), 20u);
  EXPECT_EQ(timed.statistics().fallbacks, 0u);
  EXPECT_EQ(timed.statistics().latency.count(), 20u);
}

TEST_F(Tick, ModelsWithoutABundleAreTheSameController) {
  Controller plain = make();
  Models models = nets.models();
  models.policy = nullptr;
  Controller given(bundle.planner, nets.shape(1), models, 0.1);
  for (int tick = 0; tick < 5; ++tick)
    EXPECT_EQ(numbers(given.plan(observation(tick))), numbers(plain.plan(observation(tick))));
  EXPECT_EQ(given.dt(), 0.1);
  EXPECT_THROW(Controller(bundle.planner, nets.shape(1), models, 0), UsageError);
}

TEST_F(Tick, AnObservationThatCannotBeTrueIsNotPlannedFrom) {
  Controller controller = make({.max_state_age = milliseconds(50)});
  const auto x = observation(0);
  const auto status = [&](const std::vector<float>& state, Nanoseconds age) {
    const Plan& p =
        controller.plan({.observation = state, .state_time = kStart, .now = kStart + age});
    EXPECT_TRUE(in_bounds(p.action));
    EXPECT_EQ(p.from_fallback, !usable(p.status));
    EXPECT_EQ(std::isnan(p.value), p.from_fallback);
    return p.status;
  };
  EXPECT_EQ(status(x, milliseconds(50)), PlanStatus::ok);
  EXPECT_EQ(status(x, milliseconds(51)), PlanStatus::stale_state);
  EXPECT_EQ(status({}, {}), PlanStatus::bad_state);
  EXPECT_EQ(status({1, 2, 3}, {}), PlanStatus::bad_state);
  EXPECT_EQ(status({0, 0, 0, 0, 0}, {}), PlanStatus::bad_state);
  EXPECT_EQ(status(bad(), {}), PlanStatus::bad_state);
  EXPECT_EQ(status({std::numeric_limits<float>::infinity(), 0, 0, 0}, {}), PlanStatus::bad_state);
  EXPECT_EQ(status({1e-42f, 0, 0, 0}, {}), PlanStatus::ok);
  EXPECT_EQ(status(x, {}), PlanStatus::ok);
  EXPECT_EQ(controller.statistics().of(PlanStatus::bad_state), 5u);
  EXPECT_EQ(controller.statistics().fallbacks, 6u);
  EXPECT_EQ(controller.plan({.observation = x, .state_time = milliseconds(1)}).status,
            PlanStatus::stale_state);  // by the steady clock
}

TEST_F(Tick, TimesThatCannotBeTrueAreTimes) {
  Controller controller = make({.max_state_age = milliseconds(50)});
  const auto x = observation(0);
  for (const Nanoseconds time : {Nanoseconds::min(), Nanoseconds::max(), Nanoseconds(-1)})
    for (const Nanoseconds now : {Nanoseconds::min(), Nanoseconds::max(), Nanoseconds(1)})
      EXPECT_TRUE(
          in_bounds(controller.plan({.observation = x, .state_time = time, .now = now}).action));
}

TEST_F(Tick, AStateFarOutsideTheRangeOfTrainingIsUnlikely) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  bundle.state_low = {-1, -1, -1, -kInfinity};
  bundle.state_high = {1, 1, 3, kInfinity};
  Controller controller = make({.state_margin = 0.5}), careless = make({.state_margin = kInfinity});
  const auto status = [](Controller& c, std::vector<float> x) {
    return c.plan(PlanRequest{.observation = x}).status;
  };
  EXPECT_EQ(status(controller, {0, 0, 0, 1e6f}), PlanStatus::ok);
  EXPECT_EQ(status(controller, {1.99f, -1.99f, 4.99f, 0}), PlanStatus::ok);
  EXPECT_EQ(status(controller, {2.01f, 0, 0, 0}), PlanStatus::unlikely_state);
  EXPECT_EQ(status(controller, {0, -2.01f, 0, 0}), PlanStatus::unlikely_state);
  EXPECT_EQ(status(controller, {0, 0, 3e38f, 0}), PlanStatus::unlikely_state);
  EXPECT_EQ(status(careless, {2.01f, 0, 0, 0}), PlanStatus::ok);
}

TEST_F(Tick, EachFallbackSendsWhatItSays) {
  const auto x = observation(0);
  const std::vector<float> rest = {0.5f, -0.25f}, called = {0.125f, 9};
  for (const Fallback kind :
       {Fallback::shifted_plan, Fallback::hold, Fallback::rest, Fallback::callback}) {
    PlanStatus reason = PlanStatus::ok;
    ControllerOptions options = {.fallback = kind, .rest = rest};
    options.on_fallback = [&](PlanStatus status, std::span<const float> state,
                              std::span<float> action) {
      reason = status;
      EXPECT_TRUE(std::isnan(state[1]));
      std::ranges::copy(called, action.begin());
    };
    Controller controller = make(options);
    const Plan& plan = controller.plan(PlanRequest{.observation = x});
    const auto sent = copy(plan.action), sequence = copy(plan.sequence);
    controller.plan(PlanRequest{.observation = bad()});
    EXPECT_TRUE(plan.from_fallback);
    const auto clip = [&](float a, std::size_t i) {
      return std::min(std::max(a, nets.low[i]), nets.high[i]);
    };
    for (std::size_t i = 0; i < 2; ++i) {
      const float expected = kind == Fallback::shifted_plan ? clip(sequence[2 + i], i)
                             : kind == Fallback::hold       ? sent[i]
                             : kind == Fallback::rest       ? rest[i]
                                                            : clip(called[i], i);
      EXPECT_EQ(plan.action[i], expected) << static_cast<int>(kind);
    }
    if (kind == Fallback::callback) {
      EXPECT_EQ(reason, PlanStatus::bad_state);
    }
  }
}

TEST_F(Tick, AfterTooManyFallbacksInARowItRests) {
  const std::vector<float> rest = {0.5f, -0.25f};
  for (const int most : {0, 1, 5}) {
    Controller controller = make({.max_fallbacks = most, .rest = rest});
    const int allowed = most == 0 ? bundle.planner.horizon : most;
    controller.plan(PlanRequest{.observation = observation(0)});
    for (int k = 0; k < allowed + 3; ++k) {
      const Plan& plan = controller.plan(PlanRequest{.observation = bad()});
      EXPECT_EQ(copy(plan.action) == rest, k >= allowed) << k;
    }
    EXPECT_EQ(controller.statistics().rests, 3u);
    EXPECT_EQ(controller.plan(PlanRequest{.observation = observation(1)}).status, PlanStatus::ok);
    EXPECT_NE(copy(controller.plan(PlanRequest{.observation = bad()}).action), rest);
  }
}

TEST_F(Tick, ACallbackThatFailsIsCountedAndRestIsSent) {
  const std::vector<float> rest = {0.5f, -0.25f};
  for (const bool throws : {false, true}) {
    ControllerOptions options = {.fallback = Fallback::callback, .rest = rest};
    options.on_fallback = [&](PlanStatus, std::span<const float>, std::span<float> action) {
      if (throws) throw 1;
      action[0] = nan;
    };
    Controller controller = make(options);
    EXPECT_EQ(copy(controller.plan(PlanRequest{.observation = bad()}).action), rest);
    EXPECT_EQ(controller.statistics().callback_errors, 1u);
  }
}

TEST_F(Tick, TheValidatorHasTheLastWord) {
  Verdict verdict = Verdict::send;
  bool throws = false;
  ControllerOptions options;
  options.validate = [&](std::span<const float> state, const Plan& plan) {
    EXPECT_EQ(state.size(), 4u);
    EXPECT_EQ(plan.status, PlanStatus::ok);
    if (throws) throw std::runtime_error("validator");
    return verdict;
  };
  Controller controller = make(options), plain = make();
  for (int tick = 0; tick < 3; ++tick)
    EXPECT_EQ(numbers(controller.plan(PlanRequest{.observation = observation(tick)})),
              numbers(plain.plan(observation(tick))));
  auto shifted = copy(controller.plan(PlanRequest{.observation = observation(3)}).sequence);
  for (const bool thrown : {false, true}) {
    throws = thrown;
    verdict = Verdict::reject;
    const Plan& plan = controller.plan(PlanRequest{.observation = observation(4)});
    EXPECT_EQ(plan.status, PlanStatus::rejected);
    EXPECT_TRUE(plan.from_fallback);
    shifted.erase(shifted.begin(), shifted.begin() + 2);
    shifted.insert(shifted.end(), {0.0f, 0.0f});
    EXPECT_EQ(copy(plan.sequence), shifted);
  }
  throws = false;
  verdict = Verdict::reject_and_restart;
  controller.plan(PlanRequest{.observation = observation(5)});
  EXPECT_EQ(controller.statistics().cold_starts, 0u);
  verdict = Verdict::send;
  EXPECT_EQ(controller.plan(PlanRequest{.observation = observation(6)}).status, PlanStatus::ok);
  EXPECT_EQ(controller.statistics().cold_starts, 1u);
  EXPECT_EQ(controller.statistics().of(PlanStatus::rejected), 3u);
}

TEST_F(Tick, AModelThatThrowsIsAStatusAndThePlanOfBeforeStands) {
  MoodyModel model(nets.dynamics);
  for (const int threads : {1, 2}) {
    model.throws = false;
    Controller controller = make({.threads = threads, .dynamics = &model});
    auto shifted = copy(controller.plan(PlanRequest{.observation = observation(0)}).sequence);
    model.throws = true;
    const Plan& plan = controller.plan(PlanRequest{.observation = observation(1)});
    EXPECT_EQ(plan.status, PlanStatus::user_error);
    shifted.erase(shifted.begin(), shifted.begin() + 2);
    shifted.insert(shifted.end(), {0.0f, 0.0f});
    EXPECT_EQ(copy(plan.sequence), shifted);
    EXPECT_TRUE(std::isnan(plan.value));
    EXPECT_THROW(controller.plan(observation(1)), std::runtime_error);  // the plain call throws
    model.throws = false;
    EXPECT_EQ(controller.plan(PlanRequest{.observation = observation(2)}).status, PlanStatus::ok);
  }
}

TEST_F(Tick, ACommandChangesNoFasterThanItMay) {
  const std::vector<float> rate = {0.5f, std::numeric_limits<float>::infinity()};
  Controller controller = make({.rest = {1, 1}, .max_rate = rate}), free = make();
  std::vector<float> last;
  Nanoseconds time = kStart;
  bool limited = false;
  for (int tick = 0; tick < 50; ++tick) {
    const auto step = milliseconds(20 + 10 * (tick % 7));
    time += step;
    const bool broken = tick % 5 == 4;
    const auto x = broken ? bad() : observation(tick);
    const auto wanted = copy(free.plan({.observation = x, .state_time = time}).action);
    const auto sent = copy(controller.plan({.observation = x, .state_time = time}).action);
    EXPECT_EQ(sent[1], wanted[1]);
    if (!last.empty()) {
      const double seconds = std::chrono::duration<double>(step).count();
      EXPECT_LE(std::abs(sent[0] - last[0]), 0.5 * (tick == 1 ? 0.1 : seconds) + 1e-6) << tick;
      limited |= sent[0] != wanted[0];
    }
    last = sent;
  }
  EXPECT_TRUE(limited);
  EXPECT_GT(controller.statistics().rate_limited, 0u);
}

// 10,000 ticks of everything that can be wrong at once: a command inside the bounds each time, with
// a status, and a plan again as soon as a good observation comes.
TEST_F(Tick, WhateverComesACommandGoesOut) {
  bundle.state_low.assign(4, -3.0f);
  bundle.state_high.assign(4, 3.0f);
  ControllerOptions options = {.max_rate = {40, 40},
                               .max_state_age = milliseconds(200),
                               .command_delay = milliseconds(150),
                               .want_predicted = true};
  Random fault(77);
  options.validate = [&](std::span<const float>, const Plan&) {
    return static_cast<Verdict>(fault.whole(0, 30) > 2 ? 0 : fault.whole(0, 2));
  };
  MoodyModel model(nets.dynamics);
  options.dynamics = &model;
  Controller controller = make(options);
  Nanoseconds time = kStart;
  std::uint64_t good = 0;
  for (int tick = 0; tick < 10'000; ++tick) {
    time += Nanoseconds(static_cast<std::int64_t>(fault.real(-0.05, 0.4) * 1e9));
    std::vector<float> x = observation(tick);
    model.throws = false;
    Nanoseconds now = time;
    switch (fault.whole(0, 15)) {
      case 0:
        x[fault.whole(0, 3)] = nan;
        break;
      case 1:
        x[fault.whole(0, 3)] = static_cast<float>(std::pow(10.0, fault.real(0, 38)));
        break;
      case 2:
        x.resize(fault.whole(0, 6));
        break;
      case 3:
        now += milliseconds(fault.whole(0, 1000));
        break;
      case 4:
        model.throws = true;
        break;
      case 5:
        time += milliseconds(fault.whole(-100, 2000));
        break;
      default:
        break;
    }
    const Plan& plan = controller.plan({.observation = x, .state_time = time, .now = now});
    ASSERT_TRUE(in_bounds(plan.action)) << tick;
    ASSERT_EQ(plan.from_fallback, !usable(plan.status));
    for (const float u : plan.sequence) ASSERT_TRUE(std::isfinite(u)) << tick;
    good += usable(plan.status);
  }
  const Statistics& s = controller.statistics();
  EXPECT_EQ(s.plans, 10'000u);
  EXPECT_EQ(s.fallbacks, 10'000u - good);
  EXPECT_GT(good, 5'000u);
  for (const PlanStatus status :
       {PlanStatus::bad_state, PlanStatus::rejected, PlanStatus::stale_state,
        PlanStatus::unlikely_state, PlanStatus::user_error})
    EXPECT_GT(s.of(status), 20u) << to_string(status);
  EXPECT_GT(s.time_backwards, 100u);
  EXPECT_GT(s.cold_starts, 100u);
}

// Deadlines from the past to twice what a plan takes: a plan from enough rollouts, or the fallback.
TEST_F(Tick, ADeadlineGivesAPlanOfLessOrTheFallback) {
  bundle.planner.rollouts = 400;
  for (const int threads : {1, 2}) {
    Controller controller = make({.threads = threads, .min_rollouts = 60});
    const auto x = observation(0);
    for (int i = 0; i < 20; ++i) controller.plan(PlanRequest{.observation = x});
    const auto whole = controller.statistics().latency.percentile(0.5);
    Random draw(3);
    for (int tick = 0; tick < 1000; ++tick) {
      const auto state = observation(tick);
      const Nanoseconds budget(
          static_cast<std::int64_t>(draw.real(-0.2, 2) * static_cast<double>(whole.count())));
      const Plan& plan =
          controller.plan({.observation = state, .deadline = SolveBudget::Clock::now() + budget});
      ASSERT_TRUE(in_bounds(plan.action));
      ASSERT_EQ(plan.from_fallback, plan.status == PlanStatus::no_time);
      if (plan.status == PlanStatus::deadline) {
        ASSERT_GE(plan.rollouts_used, 60);
        ASSERT_LT(plan.rollouts_used, 400);
      } else {
        ASSERT_EQ(plan.rollouts_used, usable(plan.status) ? 400 : 0);
      }
    }
    const Statistics& s = controller.statistics();
    EXPECT_EQ(s.plans,
              s.of(PlanStatus::ok) + s.of(PlanStatus::deadline) + s.of(PlanStatus::no_time));
    EXPECT_GT(s.of(PlanStatus::no_time), 50u);  // of the deadlines in the past alone
  }
}

TEST_F(Tick, TimesOfAllSizesAreTaken) {
  Controller controller = make({.command_delay = milliseconds(100)});
  for (const std::int64_t time :
       {std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::min(),
        std::int64_t{-1}, std::int64_t{1}, std::numeric_limits<std::int64_t>::max()}) {
    const auto x = observation(1);
    EXPECT_EQ(controller.plan({.observation = x, .state_time = Nanoseconds(time)}).status,
              PlanStatus::ok);
    EXPECT_EQ(controller.plan(PlanRequest{.observation = x}).status, PlanStatus::ok);
  }
}

TEST_F(Tick, OptionsOutOfRangeAreRefusedByName) {
  const auto refused = [&](const ControllerOptions& options, const std::string& name) {
    try {
      make(options);
      ADD_FAILURE() << name << " was taken";
    } catch (const UsageError& error) {
      EXPECT_NE(std::string(error.what()).find(name), std::string::npos) << error.what();
    }
  };
  refused({.min_rollouts = -1}, "min_rollouts");
  refused({.min_rollouts = 41}, "min_rollouts");
  refused({.max_fallbacks = -1}, "max_fallbacks");
  refused({.rest = {0}}, "rest");
  refused({.rest = {0, 2}}, "rest");
  refused({.rest = {nan, 0}}, "rest");
  refused({.max_rate = {1}}, "max_rate");
  refused({.max_rate = {1, 0}}, "max_rate");
  refused({.max_state_age = Nanoseconds(-1)}, "max_state_age");
  refused({.command_delay = Nanoseconds(-1)}, "command_delay");
  refused({.command_delay = milliseconds(6401)}, "command_delay");
  refused({.state_margin = -1}, "state_margin");
  refused({.fallback = Fallback::callback}, "on_fallback");
}

TEST_F(Tick, NetsThatGiveNoPlanAreRefusedAtTheStart) {
  for (float& w : bundle.members.parameters) w = 1e38f;
  EXPECT_THROW(make(), Error);
}

}  // namespace
}  // namespace softmpc
