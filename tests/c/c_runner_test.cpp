// SPDX-License-Identifier: Apache-2.0
// Tests bounds and the runner of the C interface: the commands of the C++ runner, many readers,
// swaps, whose the controller is, wrong input one by one.
#include <atomic>
#include <cmath>
#include <cstdint>
#include <thread>

#include "c/c_fixture.h"

namespace softmpc {
namespace {

using namespace testing;

constexpr std::int64_t kStart = 5'000'000'000, kStep = 100'000'000;

struct CRunner : CApi {
  /// Starts with what must succeed.
  static softmpc_runner* start(softmpc_controller* c) {
    softmpc_runner* out = nullptr;
    char text[300];
    EXPECT_EQ(softmpc_runner_start(c, nullptr, &out, text, sizeof text), SOFTMPC_DONE) << text;
    return out;
  }
  static Handle stop(softmpc_runner* runner) {
    softmpc_controller* out = nullptr;
    EXPECT_EQ(softmpc_runner_stop(runner, &out), SOFTMPC_DONE);
    return Handle(out);
  }
  static softmpc_command_info read(softmpc_runner* runner, std::int64_t t, float* action) {
    softmpc_command_info info = {};
    info.size = sizeof info;
    EXPECT_EQ(softmpc_runner_command_at(runner, t, action, &info), SOFTMPC_DONE);
    return info;
  }
  /// After the plan of this number.
  static softmpc_command_info wait(softmpc_runner* runner, std::uint64_t index) {
    float action[3];
    for (int k = 0; k < 600'000; ++k) {
      const softmpc_command_info info = read(runner, kStart, action);
      if (info.known && info.index >= index) return info;
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
    ADD_FAILURE() << "no plan " << index;
    return {};
  }
  static void submit(softmpc_runner* runner, int tick) {
    const auto x = observation(tick);
    EXPECT_EQ(softmpc_runner_submit(runner, x.data(), x.size(), kStart + tick * kStep),
              SOFTMPC_DONE);
  }
  static softmpc_sizes sizes(const Handle& c) {
    softmpc_sizes s = {};
    s.size = sizeof s;
    EXPECT_EQ(softmpc_get_sizes(c.get(), &s), SOFTMPC_DONE);
    return s;
  }
};

TEST_F(CRunner, TighterBoundsHoldAndWrongOnesAreRefused) {
  const Handle c = open();
  const float low[] = {-0.25f, 0.5f, -1}, high[] = {0.25f, 0.5f, 1.5f};
  ASSERT_EQ(softmpc_set_bounds(c.get(), low, high), SOFTMPC_DONE);
  const float nan[] = {0, NAN, 0}, below[] = {-1.5f, 0, 0}, above[] = {0, 0, 2};
  const float* const wrong[][2] = {{nan, high}, {low, nan},   {below, high}, {low, above},
                                   {high, low}, {NULL, high}, {low, NULL}};
  for (const auto& pair : wrong)
    EXPECT_EQ(softmpc_set_bounds(c.get(), pair[0], pair[1]), SOFTMPC_ERROR_ARGUMENT);
  EXPECT_EQ(softmpc_set_bounds(nullptr, low, high), SOFTMPC_ERROR_ARGUMENT);
  for (int tick = 0; tick < 20; ++tick) {
    Full full;
    plan(c, request(observation(tick)), full);
    for (int i = 0; i < 3; ++i) {
      EXPECT_GE(full.action[i], low[i]);
      EXPECT_LE(full.action[i], high[i]);
    }
  }
  float of_the_bundle[3], rest[3];
  softmpc_get_bounds(c.get(), of_the_bundle, rest);
  EXPECT_EQ(of_the_bundle[0], -1);
}

TEST_F(CRunner, FourReadersSeePlansInOrderAndTheirCommands) {
  Handle direct = open();
  softmpc_runner* const runner = start(open().release());
  constexpr std::uint64_t kPlans = 100;
  std::atomic<int> wrong{0};
  std::vector<std::thread> readers;
  for (int reader = 0; reader < 4; ++reader)
    readers.emplace_back([&, reader] {
      std::uint64_t last = 0;
      for (std::int64_t t = kStart; last + 1 < kPlans; t += kStep * (reader + 1) / 3) {
        std::vector<float> action(3);
        const softmpc_command_info info = read(runner, t, action.data());
        wrong += !inside(action) || (info.known && info.index < last);
        if (info.known) last = info.index;
        softmpc_statistics s = {};
        s.size = sizeof s;
        wrong += softmpc_runner_get_statistics(runner, &s) != SOFTMPC_DONE ||
                 (info.known && s.plans < last + 1) || s.plans > kPlans;
      }
    });
  for (int tick = 0; tick < static_cast<int>(kPlans); ++tick) {
    submit(runner, tick);
    const softmpc_command_info info = wait(runner, static_cast<std::uint64_t>(tick));
    EXPECT_EQ(info.status, SOFTMPC_STATUS_OK);
    EXPECT_EQ(info.from_fallback, 0);
    EXPECT_EQ(info.state_time_ns, kStart + tick * kStep);
    EXPECT_EQ(info.age_ns, -tick * kStep);
    EXPECT_EQ(info.bundle_hash, bundle_hash(bundle));
    Full full;
    plan(direct, request(observation(tick), kStart + tick * kStep), full);
    std::vector<float> action(3);
    EXPECT_EQ(softmpc_runner_command_at(runner, kStart + tick * kStep, action.data(), nullptr),
              SOFTMPC_DONE);
    EXPECT_EQ(action, full.action);
    EXPECT_EQ(read(runner, kStart + (tick + 4) * kStep, action.data()).beyond_horizon, 1);
  }
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(wrong, 0);
  const Handle back = stop(runner);
  Full a, b;
  plan(back, request(observation(7), kStart + 101 * kStep), a);
  plan(direct, request(observation(7), kStart + 101 * kStep), b);
  EXPECT_EQ(a.sequence, b.sequence);
}

TEST_F(CRunner, TheControllerIsTheRunnersUntilItStops) {
  Handle c = open();
  softmpc_runner* const runner = start(c.get());
  softmpc_controller* const taken = c.get();
  Full full;
  const auto x = observation(0);
  const softmpc_request in = request(x);
  EXPECT_EQ(softmpc_plan(taken, &in, &full.out), SOFTMPC_STATUS_WRONG_ARGUMENT);
  EXPECT_EQ(softmpc_reset(taken), SOFTMPC_ERROR_BUSY);
  const float bound[3] = {};
  EXPECT_EQ(softmpc_set_bounds(taken, bound, bound), SOFTMPC_ERROR_BUSY);
  softmpc_sizes s = {};
  s.size = sizeof s;
  EXPECT_EQ(softmpc_get_sizes(taken, &s), SOFTMPC_ERROR_BUSY);
  softmpc_prepared* prepared = nullptr;
  EXPECT_EQ(softmpc_prepare(taken, path.c_str(), &prepared, nullptr, 0), SOFTMPC_ERROR_BUSY);
  softmpc_runner* second = nullptr;
  EXPECT_EQ(softmpc_runner_start(taken, nullptr, &second, nullptr, 0), SOFTMPC_ERROR_BUSY);
  EXPECT_EQ(second, nullptr);
  softmpc_close(taken);  // does nothing
  submit(runner, 0);
  wait(runner, 0);
  c.release();
  const Handle back = stop(runner);
  EXPECT_EQ(back.get(), taken);
  EXPECT_EQ(status(back, x), SOFTMPC_STATUS_OK);
  const Handle again = stop(start(open().release()));
  EXPECT_EQ(status(again, x), SOFTMPC_STATUS_OK);
}

TEST_F(CRunner, OffersAreTakenOneByOneAndSizesFollow) {
  const Handle other = open();
  softmpc_runner* runner = start(open().release());
  submit(runner, 0);
  wait(runner, 0);
  const auto prepare = [&](int rollouts) {
    bundle.planner.rollouts = rollouts;
    save();
    softmpc_prepared* made = nullptr;
    char text[300];
    EXPECT_EQ(softmpc_runner_prepare(runner, path.c_str(), &made, text, sizeof text), SOFTMPC_DONE)
        << text;
    return c_api::Prepared(made);
  };
  c_api::Prepared first = prepare(44), second = prepare(48);
  softmpc_prepared* foreign = nullptr;
  ASSERT_EQ(softmpc_prepare(other.get(), path.c_str(), &foreign, nullptr, 0), SOFTMPC_DONE);
  EXPECT_EQ(softmpc_runner_offer(runner, foreign), SOFTMPC_ERROR_ARGUMENT);
  softmpc_prepared_free(foreign);
  ASSERT_EQ(softmpc_runner_offer(runner, first.get()), SOFTMPC_DONE);
  first.release();
  EXPECT_EQ(softmpc_runner_offer(runner, second.get()), SOFTMPC_ERROR_BUSY);
  submit(runner, 1);
  bundle.planner.rollouts = 44;
  EXPECT_EQ(wait(runner, 1).bundle_hash, bundle_hash(bundle));
  ASSERT_EQ(softmpc_runner_offer(runner, second.get()), SOFTMPC_DONE);
  second.release();
  Handle back = stop(runner);  // the second waited, and is dropped
  EXPECT_EQ(sizes(back).rollouts, 44);
  runner = start(back.release());
  second = prepare(48);
  ASSERT_EQ(softmpc_runner_offer(runner, second.get()), SOFTMPC_DONE);
  second.release();
  submit(runner, 2);
  wait(runner, 2);
  back = stop(runner);
  EXPECT_EQ(sizes(back).rollouts, 48);
  Full full;
  EXPECT_EQ(plan(back, request(observation(3)), full), SOFTMPC_STATUS_OK);
  EXPECT_EQ(full.out.rollouts_used, 48);
}

TEST_F(CRunner, AStartThatFailsLeavesTheController) {
  char text[300];
  softmpc_runner* out = nullptr;
  const Handle c = open();
  EXPECT_EQ(softmpc_runner_start(nullptr, nullptr, &out, text, sizeof text),
            SOFTMPC_ERROR_ARGUMENT);
  EXPECT_STREQ(text, "controller: is NULL");
  EXPECT_EQ(softmpc_runner_start(c.get(), nullptr, nullptr, text, 3), SOFTMPC_ERROR_ARGUMENT);
  const auto refused = [&](const char* name, auto set) {
    softmpc_runner_options options = c_api::default_runner_options();
    set(options);
    out = reinterpret_cast<softmpc_runner*>(&options);
    EXPECT_EQ(softmpc_runner_start(c.get(), &options, &out, text, sizeof text),
              SOFTMPC_ERROR_ARGUMENT)
        << name;
    EXPECT_EQ(out, nullptr);
    EXPECT_NE(std::string(text).find(name), std::string::npos) << text;
    EXPECT_EQ(status(c, observation(1)), SOFTMPC_STATUS_OK);
  };
  using O = softmpc_runner_options;
  refused("options.size: 7", [](O& o) { o.size = 7; });
  refused("options.size", [](O& o) { o.size = sizeof o + 8; });
  refused("options.trigger: 2", [](O& o) { o.trigger = 2; });
  refused("options.reading: -1", [](O& o) { o.reading = -1; });
  refused("options.lock_memory: 2", [](O& o) { o.lock_memory = 2; });
  refused("period", [](O& o) { o.trigger = SOFTMPC_TRIGGER_PERIOD; });
  refused("period", [](O& o) { o.period_ns = -1; });
  refused("budget", [](O& o) { o.budget_ns = INT64_MAX; });
  refused("priority", [](O& o) { o.priority = 100; });
  refused("cpu", [](O& o) { o.cpu = -2; });
  softmpc_runner_options_init(nullptr, 8);
}

TEST_F(CRunner, WrongInputIsANumber) {
  softmpc_runner* const runner = start(open().release());
  const auto x = observation(0);
  const auto wrong = [](softmpc_result result) { EXPECT_EQ(result, SOFTMPC_ERROR_ARGUMENT); };
  wrong(softmpc_runner_submit(nullptr, x.data(), 12, kStart));
  wrong(softmpc_runner_submit(runner, nullptr, 12, kStart));
  wrong(softmpc_runner_submit(runner, x.data(), 11, kStart));
  wrong(softmpc_runner_submit(runner, x.data(), 12, 0));
  float action[3] = {7, 7, 7};
  softmpc_command_info info = {};
  info.size = sizeof info;
  wrong(softmpc_runner_command_at(nullptr, kStart, action, &info));
  wrong(softmpc_runner_command_at(runner, kStart, nullptr, &info));
  info.size = 9;
  wrong(softmpc_runner_command_at(runner, kStart, action, &info));
  EXPECT_EQ(action[0], 7);
  softmpc_prepared* prepared = nullptr;
  char text[300];
  wrong(softmpc_runner_prepare(nullptr, path.c_str(), &prepared, text, sizeof text));
  wrong(softmpc_runner_prepare(runner, nullptr, &prepared, text, sizeof text));
  wrong(softmpc_runner_prepare(runner, path.c_str(), nullptr, text, sizeof text));
  EXPECT_EQ(softmpc_runner_prepare(runner, "/none", &prepared, text, sizeof text),
            SOFTMPC_ERROR_FILE);
  wrong(softmpc_runner_offer(nullptr, nullptr));
  wrong(softmpc_runner_offer(runner, nullptr));
  softmpc_statistics s = {};
  wrong(softmpc_runner_get_statistics(runner, &s));
  s.size = sizeof s;
  wrong(softmpc_runner_get_statistics(nullptr, &s));
  wrong(softmpc_runner_get_statistics(runner, nullptr));
  wrong(softmpc_runner_notes(nullptr, text, sizeof text));
  wrong(softmpc_runner_notes(runner, nullptr, 5));
  wrong(softmpc_runner_notes(runner, text, 0));
  EXPECT_EQ(softmpc_runner_notes(runner, text, sizeof text), SOFTMPC_DONE);
  EXPECT_STREQ(text, "");
  softmpc_controller* back = nullptr;
  wrong(softmpc_runner_stop(nullptr, &back));
  wrong(softmpc_runner_stop(runner, nullptr));
  stop(runner);
}

TEST_F(CRunner, ABadStateIsAStatus) {
  softmpc_runner* const runner = start(open().release());
  const auto x = observation(0);
  EXPECT_EQ(softmpc_runner_submit(runner, x.data(), 0, kStart), SOFTMPC_DONE);
  EXPECT_EQ(wait(runner, 0).status, SOFTMPC_STATUS_OK);
  const std::vector<float> bad(12, NAN);
  EXPECT_EQ(softmpc_runner_submit(runner, bad.data(), 12, kStart + kStep), SOFTMPC_DONE);
  EXPECT_EQ(wait(runner, 1).status, SOFTMPC_STATUS_BAD_STATE);
  stop(runner);
}

struct User {
  std::atomic<softmpc_runner*> runner{nullptr};
  softmpc_controller* controller = nullptr;
  std::atomic<int> stopped{0}, reset{0};

  static std::int32_t validate(void* user, const float*, const softmpc_plan_out*) {
    User& u = *static_cast<User*>(user);
    if (u.runner == nullptr) return SOFTMPC_SEND;
    softmpc_controller* out = nullptr;
    u.stopped = softmpc_runner_stop(u.runner, &out);
    u.reset = softmpc_reset(u.controller);
    return SOFTMPC_SEND;
  }
};

TEST_F(CRunner, ACallbackCannotStopIt) {
  User user;
  softmpc_options options = c_api::default_options();
  options.user = &user;
  options.validate = User::validate;
  Handle c = open(options);
  user.controller = c.get();
  user.runner = start(c.release());
  submit(user.runner, 0);
  EXPECT_EQ(wait(user.runner, 0).status, SOFTMPC_STATUS_OK);
  EXPECT_EQ(user.stopped, SOFTMPC_ERROR_BUSY);
  EXPECT_EQ(user.reset, SOFTMPC_ERROR_BUSY);
  stop(user.runner);
}

TEST_F(CRunner, TheClassOwnsBoth) {
  c_api::Controller controller(path);
  softmpc_runner_options options = c_api::default_runner_options();
  options.priority = -1;
  EXPECT_THROW(c_api::Runner(std::move(controller), options), c_api::Error);
  controller.set_bounds({-0.5f, -0.5f, 0}, {0.5f, 0.5f, 0});
  EXPECT_THROW(controller.set_bounds({0}, {1}), c_api::Error);
  EXPECT_THROW(controller.set_bounds({1, 1, 1}, {0, 0, 0}), c_api::Error);
  c_api::Runner runner(std::move(controller));
  runner.submit(observation(0), kStart);
  wait(runner.get(), 0);
  std::vector<float> action;
  EXPECT_EQ(runner.command_at(kStart + kStep, action).status, SOFTMPC_STATUS_OK);
  EXPECT_EQ(action[2], 0);
  EXPECT_THROW(runner.submit({}, kStart), c_api::Error);
  c_api::Prepared prepared = runner.prepare(path);
  EXPECT_TRUE(runner.offer(prepared));
  EXPECT_EQ(prepared, nullptr);
  prepared = runner.prepare(path);
  EXPECT_FALSE(runner.offer(prepared));
  prepared.reset();
  EXPECT_EQ(runner.notes(), "");
  EXPECT_EQ(runner.statistics().plans, 1u);
  c_api::Controller back = runner.stop();
  EXPECT_EQ(back.plan(observation(1)).status, SOFTMPC_STATUS_OK);
  const c_api::Runner closes_itself(std::move(back));
}

}  // namespace
}  // namespace softmpc
