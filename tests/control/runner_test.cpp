// SPDX-License-Identifier: Apache-2.0
// Tests Runner: the commands of the controller that it owns, whole and in order for any reader, the
// latest state, swaps, the end.
#include <sched.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "control/controllers.h"
#include "softmpc/error.h"
#include "softmpc/runner.h"

namespace softmpc {
namespace {

using namespace testing;

/// Another model, but for a gate that holds up whoever steps it.
class GatedModel final : public DynamicsModel {
 public:
  explicit GatedModel(const DynamicsModel& model) : model_(model) {}
  void close() { closed_ = true; }
  void open() {
    closed_ = false;
    closed_.notify_all();
  }
  /// Until somebody stands at the gate.
  void wait_for_visit() const { visits_.wait(0); }

  int members() const override { return model_.members(); }
  std::size_t scratch_bytes(int count) const override { return model_.scratch_bytes(count); }
  void step(int member, ConstColumns x, ConstColumns a, int count, const StepResult& out,
            void* scratch) const override {
    if (closed_) {
      ++visits_;
      visits_.notify_all();
      closed_.wait(true);
    }
    model_.step(member, x, a, count, out, scratch);
  }

 private:
  const DynamicsModel& model_;
  mutable std::atomic<int> visits_{0};
  std::atomic<bool> closed_{false};
};

struct Command {
  CommandInfo info;
  std::vector<float> action;
};

struct RunnerTest : SmallController {
  using Rows = std::vector<std::vector<float>>;  // [H+1, nu]

  static Nanoseconds time(int tick) { return kStart + tick * kStep; }
  Command read(const Runner& runner, Nanoseconds t) const {
    Command c = {{}, std::vector<float>(nets.nu)};
    c.info = runner.command_at(t, c.action);
    return c;
  }
  /// The first plan that it sees of which `is_it` is true; a failure if none comes.
  template <class IsIt>
  CommandInfo wait_until(const Runner& runner, const IsIt& is_it) const {
    for (int k = 0; k < 600'000; ++k) {
      const CommandInfo info = read(runner, kStart).info;
      if (info.known && is_it(info)) return info;
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
    ADD_FAILURE() << "a plan did not come";
    return {};
  }
  CommandInfo wait(const Runner& runner, std::uint64_t index) const {
    return wait_until(runner, [&](const CommandInfo& info) { return info.index >= index; });
  }
  CommandInfo plan(Runner& runner, int tick, std::uint64_t index) const {
    runner.submit(observation(tick), time(tick));
    return wait(runner, index);
  }
  static const Plan& plan(Controller& controller, int tick) {
    const auto x = observation(tick);
    return controller.plan({.observation = x, .state_time = time(tick)});
  }
  /// What is to be sent in each step of a plan.
  Rows rows(const Plan& p) const {
    const auto n = neutral_action(bundle.planner, nets.shape(1));
    Rows out(bundle.planner.horizon + 1, copy(p.action));
    for (std::size_t k = 1; k < out.size(); ++k)
      for (int i = 0; i < nets.nu; ++i)
        out[k][i] =
            std::min(std::max(n[i] + p.sequence[k * nets.nu + i], nets.low[i]), nets.high[i]);
    return out;
  }
};

TEST_F(RunnerTest, CommandsAreThoseOfTheControllerItself) {
  const std::vector<float> rest = {0.5f, -0.25f};
  const ControllerOptions options = {.rest = rest, .max_rate = {2, 2}};
  Controller direct = make(options);
  Runner runner(make(options), {.budget = std::chrono::hours(1)});
  for (int tick = 0; tick < 10; ++tick) {
    const CommandInfo info = plan(runner, tick, tick);
    const Plan& p = plan(direct, tick);
    EXPECT_EQ(info.index, p.index);
    EXPECT_EQ(info.status, PlanStatus::ok);
    EXPECT_FALSE(info.from_fallback);
    EXPECT_EQ(info.bundle_hash, p.bundle_hash);
    EXPECT_EQ(info.state_time, time(tick));
    EXPECT_EQ(info.age, kStart - time(tick));
    const Rows expected = rows(p);
    for (int k = 0; k < 4; ++k)
      for (const Nanoseconds off : {Nanoseconds(0), kStep / 2, kStep - Nanoseconds(1)}) {
        const Command c = read(runner, time(tick + k) + off);
        EXPECT_EQ(c.action, expected[k]) << tick << " step " << k;
        EXPECT_FALSE(c.info.beyond_horizon);
        EXPECT_EQ(c.info.age, k * kStep + off);
      }
    const Command early = read(runner, time(tick) - kStep), late = read(runner, time(tick + 4));
    EXPECT_EQ(early.action, expected[0]);
    EXPECT_EQ(early.info.age, -kStep);
    EXPECT_EQ(late.action, rest);
    EXPECT_TRUE(late.info.known && late.info.beyond_horizon);
  }
  EXPECT_EQ(runner.statistics().of(PlanStatus::ok), 10u);
  EXPECT_EQ(runner.statistics().rate_limited, direct.statistics().rate_limited);
}

TEST_F(RunnerTest, BetweenStepsItReadsOnTheLineIfAsked) {
  Controller direct = make();
  Runner runner(make(), {.reading = Reading::linear});
  plan(runner, 0, 0);
  const Rows expected = rows(plan(direct, 0));
  for (int k = 0; k < 4; ++k) {
    EXPECT_EQ(read(runner, time(k)).action, expected[k]);
    const auto between = read(runner, time(k) + kStep / 4).action;
    const auto& next = expected[std::min(k + 1, 3)];  // the last is held
    for (int i = 0; i < nets.nu; ++i)
      EXPECT_NEAR(between[i], expected[k][i] + 0.25f * (next[i] - expected[k][i]), 1e-6f);
  }
}

TEST_F(RunnerTest, WithADelayThePlanBeginsWhenItsCommandActs) {
  const ControllerOptions options = {.command_delay = milliseconds(150)};
  Controller direct = make(options);
  Runner runner(make(options));
  plan(runner, 0, 0);
  const Rows expected = rows(plan(direct, 0));
  const Nanoseconds begin = time(0) + milliseconds(150);
  EXPECT_EQ(read(runner, time(0)).action, expected[0]);
  EXPECT_EQ(read(runner, begin + kStep - Nanoseconds(1)).action, expected[0]);
  EXPECT_EQ(read(runner, begin + kStep).action, expected[1]);
  EXPECT_FALSE(read(runner, begin + 4 * kStep - Nanoseconds(1)).info.beyond_horizon);
  EXPECT_TRUE(read(runner, begin + 4 * kStep).info.beyond_horizon);
}

TEST_F(RunnerTest, BeforeTheFirstPlanItRests) {
  const std::vector<float> rest = {0.5f, -0.25f};
  for (const bool given : {false, true}) {
    Controller controller = make({.rest = given ? rest : std::vector<float>()});
    const auto expected = given ? rest : copy(controller.rest());
    const Runner runner(std::move(controller));
    const Command c = read(runner, time(0));
    EXPECT_FALSE(c.info.known || usable(c.info.status));
    EXPECT_EQ(c.action, expected);
  }
}

TEST_F(RunnerTest, TimesOfAllSizesAreTaken) {
  constexpr auto kMost = Nanoseconds::max(), kLeast = Nanoseconds::min();
  Runner runner(make({.command_delay = milliseconds(100)}));
  std::uint64_t index = 0;
  for (const Nanoseconds measured : {kLeast, kMost, Nanoseconds(-1), Nanoseconds(1)}) {
    runner.submit(observation(0), measured);
    wait(runner, index++);
    for (const Nanoseconds t : {kLeast, Nanoseconds(0), kMost})
      EXPECT_TRUE(in_bounds(read(runner, t).action));
  }
}

TEST_F(RunnerTest, WhatDoesNotFitIsCountedAndIgnored) {
  Runner runner(make());
  for (const std::size_t size : {0, 3, 5}) runner.submit(std::vector<float>(size), time(0));
  runner.submit(observation(0), {});
  EXPECT_EQ(runner.ignored(), 4u);
  EXPECT_EQ(plan(runner, 1, 0).state_time, time(1));
  EXPECT_EQ(runner.statistics().plans, 1u);
  for (const std::size_t size : {0, 1, 3}) {
    std::vector<float> action(size, 7);
    EXPECT_FALSE(runner.command_at(time(1), action).known);
    EXPECT_EQ(action, std::vector<float>(size, 7));
  }
}

TEST_F(RunnerTest, TheLatestStateIsPlannedFromAndNobodyWaitsForThePlan) {
  GatedModel model(nets.dynamics);
  Runner runner(make({.dynamics = &model}));
  plan(runner, 0, 0);
  model.close();
  runner.submit(observation(1), time(1));
  model.wait_for_visit();
  for (int tick = 2; tick <= 50; ++tick) {
    runner.submit(observation(tick), time(tick));
    EXPECT_EQ(read(runner, time(tick)).info.index, 0u);
    EXPECT_EQ(runner.statistics().plans, 1u);
  }
  model.open();
  EXPECT_EQ(wait(runner, 2).state_time, time(50));
  EXPECT_EQ(runner.stop().statistics().plans, 3u);
}

// Readers never pause until they have read the last plan. Afterwards each command that they read is
// compared with what a controller gives from the states that were planned from.
TEST_F(RunnerTest, ReadersSeeWholePlansInOrder) {
  constexpr int kTicks = 300, kReaders = 3;
  constexpr auto kTick = milliseconds(20);
  using Seen = std::map<std::pair<std::uint64_t, int>, Command>;  // by plan and step
  std::vector<std::vector<float>> planned;
  ControllerOptions options = {.threads = 2};
  options.validate = [&](std::span<const float> x, const Plan&) {
    planned.push_back(copy(x));
    return Verdict::send;
  };
  Runner runner(make(options));
  std::vector<Seen> seen(kReaders);
  std::atomic<int> backwards{0}, different{0};
  const auto follow = [&](Seen& mine) {
    CommandInfo last;
    int of_the_last = 0;
    for (int k = 0; of_the_last < 4; ++k) {
      const int step = k % 4;
      // the plan's step is known only when its state's time is
      const Command c = read(runner, last.state_time + step * kStep);
      backwards += last.known && (!c.info.known || c.info.index < last.index);
      const bool same = last.known && c.info.index == last.index;
      last = c.info;
      if (!same) continue;
      const auto [at, is_new] = mine.try_emplace({c.info.index, step}, c);
      different += !is_new && at->second.action != c.action;
      of_the_last += is_new && last.state_time == kStart + (kTicks - 1) * kTick;
    }
  };
  std::vector<std::thread> readers;
  for (Seen& mine : seen) readers.emplace_back(follow, std::ref(mine));
  for (int tick = 0; tick < kTicks; ++tick) {
    const Nanoseconds now = kStart + tick * kTick;
    runner.submit(observation(tick), now);
    if (tick % 3 == 2)  // the others may be overtaken
      wait_until(runner, [&](const CommandInfo& info) { return info.state_time == now; });
  }
  for (std::thread& reader : readers) reader.join();
  runner.stop();
  EXPECT_EQ(backwards, 0);
  EXPECT_EQ(different, 0);

  Controller direct = make();
  int tick = 0;
  std::size_t compared = 0;
  for (const auto& x : planned) {
    while (observation(tick) != x) ASSERT_LT(++tick, kTicks);
    const Plan& p = direct.plan({.observation = x, .state_time = kStart + tick * kTick});
    const Rows expected = rows(p);
    for (const Seen& reader : seen)
      for (int step = 0; step < 4; ++step) {
        const auto at = reader.find({p.index, step});
        if (at == reader.end()) continue;
        ++compared;
        ASSERT_EQ(at->second.action, expected[step]) << "plan " << p.index << " step " << step;
        ASSERT_EQ(at->second.info.state_time, kStart + tick * kTick);
      }
  }
  EXPECT_GE(compared, 4u * kReaders);
}

TEST_F(RunnerTest, NetsAreSwappedBetweenTwoPlans) {
  Bundle second = bundle, third = bundle;
  second.planner.rollouts = 60;
  third.planner.rollouts = 50;
  Controller direct = make();
  Runner runner(make());
  plan(runner, 0, 0);
  plan(direct, 0);
  Prepared one = runner.prepare(second), more = runner.prepare(third);
  EXPECT_TRUE(runner.offer(std::move(one)));
  EXPECT_FALSE(runner.offer(std::move(more)));  // and it is still ours
  EXPECT_EQ(read(runner, kStart).info.bundle_hash, bundle_hash(bundle));
  EXPECT_EQ(plan(runner, 1, 1).bundle_hash, bundle_hash(second));
  EXPECT_EQ(runner.statistics().swaps, 1u);
  Prepared expected(direct, second);
  direct.swap(expected);
  EXPECT_EQ(read(runner, time(1)).action, copy(plan(direct, 1).action));
  EXPECT_TRUE(runner.offer(std::move(more)));
  EXPECT_EQ(plan(runner, 2, 2).bundle_hash, bundle_hash(third));
  EXPECT_TRUE(runner.offer(runner.prepare(bundle)));
  EXPECT_EQ(runner.stop().statistics().swaps, 2u);
  bundle.nx = 5;
  EXPECT_THROW(Runner(make()).prepare(bundle), Error);
}

TEST_F(RunnerTest, TheEndGivesTheControllerBack) {
  Controller direct = make();
  Runner runner(make());
  for (int tick = 0; tick < 3; ++tick) {
    plan(runner, tick, tick);
    plan(direct, tick);
  }
  const Command last = read(runner, time(2));
  Controller back = runner.stop();
  EXPECT_EQ(numbers(plan(back, 3)), numbers(plan(direct, 3)));
  runner.submit(observation(4), time(4));
  EXPECT_EQ(read(runner, time(2)).action, last.action);
  EXPECT_EQ(read(runner, time(2)).info.index, 2u);
  EXPECT_EQ(runner.statistics().plans, 3u);
  EXPECT_FALSE(runner.offer(Prepared(back, bundle)));
  EXPECT_THROW(runner.prepare(bundle), UsageError);
  EXPECT_THROW(runner.stop(), UsageError);
  Runner again(std::move(back));
  EXPECT_EQ(plan(again, 4, 4).index, 4u);
}

TEST_F(RunnerTest, APeriodPlansFromTheSameStateAgain) {
  Controller direct = make();
  Runner runner(make(), {.trigger = Trigger::period, .period = milliseconds(1)});
  plan(runner, 0, 3);
  Controller back = runner.stop();
  const Command last = read(runner, time(0));
  Rows expected;
  for (std::uint64_t k = 0; k <= last.info.index; ++k) expected = rows(plan(direct, 0));
  EXPECT_EQ(last.action, expected[0]);
  EXPECT_EQ(read(runner, time(3)).action, expected[3]);
  EXPECT_EQ(back.statistics().plans, last.info.index + 1);
}

TEST_F(RunnerTest, TheEndWaitsForNoPeriod) {
  for (const Trigger trigger : {Trigger::period, Trigger::new_state}) {
    Runner runner(make(), {.trigger = trigger, .period = std::chrono::hours(1)});
    EXPECT_EQ(runner.stop().statistics().plans, 0u);
    const Runner unused(make(), {.trigger = trigger, .period = std::chrono::hours(1)});
  }
}

TEST_F(RunnerTest, TroubleIsAStatusAndTheThreadGoesOn) {
  MoodyModel model(nets.dynamics);
  Runner runner(make({.dynamics = &model}));
  plan(runner, 0, 0);
  model.throws = true;
  const CommandInfo failed = plan(runner, 1, 1);
  EXPECT_EQ(failed.status, PlanStatus::user_error);
  EXPECT_TRUE(failed.known && failed.from_fallback);
  EXPECT_TRUE(in_bounds(read(runner, time(1)).action));
  model.throws = false;
  EXPECT_EQ(plan(runner, 2, 2).status, PlanStatus::ok);
  runner.submit(std::vector<float>(4, std::nanf("")), time(3));
  EXPECT_EQ(wait(runner, 3).status, PlanStatus::bad_state);
}

TEST_F(RunnerTest, ABudgetIsTheDeadlineOfAPlan) {
  Runner runner(make(), {.budget = Nanoseconds(1)});
  const CommandInfo info = plan(runner, 0, 0);
  EXPECT_EQ(info.status, PlanStatus::no_time);
  EXPECT_TRUE(info.known && info.from_fallback);
}

TEST_F(RunnerTest, OptionsOutOfRangeAreRefusedByName) {
  const auto refused = [&](const RunnerOptions& options, const std::string& name) {
    try {
      const Runner runner(make(), options);
      ADD_FAILURE() << name << " was taken";
    } catch (const UsageError& error) {
      EXPECT_NE(std::string(error.what()).find(name), std::string::npos) << error.what();
    }
  };
  refused({.trigger = Trigger::period}, "period");
  refused({.period = Nanoseconds(-1)}, "period");
  refused({.trigger = Trigger::period, .period = std::chrono::minutes(61)}, "period");
  refused({.budget = Nanoseconds(-1)}, "budget");
  refused({.budget = Nanoseconds::max()}, "budget");
  refused({.priority = -1}, "priority");
  refused({.priority = 100}, "priority");
  refused({.cpu = -2}, "cpu");
  refused({.cpu = 1024}, "cpu");
}

// Whether the system grants these depends on who runs the test: either way it plans.
TEST_F(RunnerTest, WhatTheSystemRefusesIsANote) {
  const auto notes = [&](const RunnerOptions& options) {
    Runner runner(make(), options);
    EXPECT_EQ(plan(runner, 0, 0).status, PlanStatus::ok);
    return runner.notes();
  };
  EXPECT_EQ(notes({}), "");
  EXPECT_EQ(notes({.cpu = sched_getcpu()}), "");
  EXPECT_NE(notes({.cpu = 1023}).find("cpu 1023 was refused"), std::string::npos);
  const std::string priority = notes({.priority = 1}), memory = notes({.lock_memory = true});
  munlockall();
  if (!priority.empty()) {
    EXPECT_NE(priority.find("priority 1 was refused"), std::string::npos) << priority;
  }
  if (!memory.empty()) {
    EXPECT_NE(memory.find("lock_memory was refused"), std::string::npos) << memory;
  }
  EXPECT_EQ(std::ranges::count(notes({.priority = 1, .cpu = 1023}), '\n'), !priority.empty());
}

}  // namespace
}  // namespace softmpc
