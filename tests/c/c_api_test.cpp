// SPDX-License-Identifier: Apache-2.0
// Tests the C interface against the C++ controller, to the bit.
#include <cmath>
#include <set>

#include "c/c_fixture.h"
#include "io/atomic_file.h"
#include "softmpc/black_box.h"
#include "softmpc/controller.h"
#include "softmpc/task_rules.h"
#include "softmpc/version.h"

namespace softmpc {
namespace {

using namespace testing;

void expect_same(const Plan& a, const CApi::Full& b) {
  const auto same = [](std::span<const float> x, const std::vector<float>& y) {
    ASSERT_EQ(x.size(), y.size());
    EXPECT_EQ(std::memcmp(x.data(), y.data(), x.size_bytes()), 0);
  };
  same(a.action, b.action);
  same(a.sequence, b.sequence);
  same(a.predicted, b.predicted);
  EXPECT_EQ(static_cast<int>(a.status), b.out.status);
  EXPECT_EQ(a.value, b.out.value);
  EXPECT_EQ(a.effective_samples, b.out.effective_samples);
  EXPECT_EQ(a.valid_share, b.out.valid_share);
  EXPECT_EQ(a.disagreement, b.out.disagreement);
  EXPECT_EQ(a.rollouts_used, b.out.rollouts_used);
  EXPECT_EQ(a.iterations_done, b.out.iterations_done);
  EXPECT_EQ(a.index, b.out.index);
  EXPECT_EQ(a.bundle_hash, b.out.bundle_hash);
}

TEST_F(CApi, PlansAreThoseOfTheController) {
  softmpc_options options = c_api::default_options();
  const std::vector<float> rate = {4, 4, 4}, rest = {0.1f, 0, 0};
  options.seed = 7;
  options.want_predicted = 1;
  options.command_delay_ns = 150'000'000;
  options.max_rate = rate.data();
  options.rest = rest.data();
  const Handle c = open(options);
  const auto reward = make_rollout_reward(bundle);
  Controller controller(bundle, reward.get(),
                        {.seed = 7,
                         .rest = rest,
                         .max_rate = rate,
                         .command_delay = std::chrono::milliseconds(150),
                         .want_predicted = true});
  for (int tick = 0; tick < 20; ++tick) {
    const auto x = observation(tick);
    const std::int64_t time = 5'000'000'000 + tick * 73'000'000;
    Full full;
    EXPECT_EQ(plan(c, request(x, time), full), SOFTMPC_STATUS_OK);
    expect_same(controller.plan({.observation = x, .state_time = Nanoseconds(time)}), full);
    EXPECT_GT(full.out.duration_ns, 0);
    EXPECT_EQ(full.out.from_fallback, 0);
  }
}

TEST_F(CApi, BytesAreAsGoodAsAFile) {
  const std::string bytes = read_file(path);
  softmpc_controller* out = nullptr;
  ASSERT_EQ(softmpc_open_memory(bytes.data(), bytes.size(), nullptr, &out, nullptr, 0),
            SOFTMPC_DONE);
  const Handle a(out), b = open();
  Full x, y;
  plan(a, request(observation(1)), x);
  plan(b, request(observation(1)), y);
  EXPECT_EQ(x.action, y.action);
  EXPECT_EQ(x.out.value, y.out.value);
}

TEST_F(CApi, SizesBoundsAndNames) {
  const Handle c = open();
  softmpc_sizes s = {};
  s.size = sizeof s;
  ASSERT_EQ(softmpc_get_sizes(c.get(), &s), SOFTMPC_DONE);
  EXPECT_EQ(s.nx, 12);
  EXPECT_EQ(s.nu, 3);
  EXPECT_EQ(s.horizon, 3);
  EXPECT_EQ(s.rollouts, 40);
  EXPECT_EQ(s.members, 2);
  EXPECT_EQ(s.dt, 0.1);
  std::vector<float> low(3), high(3);
  ASSERT_EQ(softmpc_get_bounds(c.get(), low.data(), high.data()), SOFTMPC_DONE);
  EXPECT_EQ(low, bundle.action_low);
  EXPECT_EQ(high, bundle.action_high);
  EXPECT_EQ(softmpc_abi(), 0u);
  EXPECT_STREQ(softmpc_version(), SOFTMPC_VERSION_STRING);
  std::set<std::string> names;
  for (int i = 0; i < kPlanStatuses; ++i) {
    names.insert(softmpc_status_name(i));
    EXPECT_STREQ(softmpc_status_name(i), to_string(static_cast<PlanStatus>(i)));
  }
  for (int i = 0; i >= SOFTMPC_ERROR_INTERNAL; --i) names.insert(softmpc_result_name(i));
  EXPECT_EQ(names.size(), kPlanStatuses + 10u);
  EXPECT_STREQ(softmpc_status_name(-1), "wrong_argument");
  for (const int wrong : {-2, kPlanStatuses, INT32_MAX, INT32_MIN})
    EXPECT_STREQ(softmpc_status_name(wrong), "unknown");
  for (const int wrong : {1, -10, INT32_MAX, INT32_MIN})
    EXPECT_STREQ(softmpc_result_name(wrong), "unknown");
}

TEST_F(CApi, ASavedStateGoesOn) {
  const Handle a = open(), b = open();
  for (int tick = 0; tick < 5; ++tick) status(a, observation(tick));
  c_api::Controller whole(path);
  std::vector<char> state(whole.sizes().state_bytes);
  ASSERT_EQ(softmpc_save_state(a.get(), state.data(), state.size()), SOFTMPC_DONE);
  ASSERT_EQ(softmpc_load_state(b.get(), state.data(), state.size()), SOFTMPC_DONE);
  Full x, y, z;
  plan(a, request(observation(5)), x);
  plan(b, request(observation(5)), y);
  EXPECT_EQ(x.sequence, y.sequence);
  ASSERT_EQ(softmpc_reset(b.get()), SOFTMPC_DONE);
  plan(b, request(observation(5)), z);
  EXPECT_NE(x.sequence, z.sequence);
}

TEST_F(CApi, AnotherBundleIsPreparedAndSwapped) {
  const Handle c = open();
  status(c, observation(0));
  const auto hash = bundle_hash(bundle);
  bundle.planner.rollouts = 44;
  save();
  softmpc_prepared* made = nullptr;
  char text[300];
  ASSERT_EQ(softmpc_prepare(c.get(), path.c_str(), &made, text, sizeof text), SOFTMPC_DONE) << text;
  c_api::Prepared prepared(made);
  const Handle other = open();
  EXPECT_EQ(softmpc_swap(other.get(), made), SOFTMPC_ERROR_ARGUMENT);
  Full full;
  for (const bool swapped : {true, false}) {
    ASSERT_EQ(softmpc_swap(c.get(), made), SOFTMPC_DONE);
    ASSERT_EQ(plan(c, request(observation(1)), full), SOFTMPC_STATUS_OK);
    EXPECT_EQ(full.out.bundle_hash, swapped ? bundle_hash(bundle) : hash);
    softmpc_sizes s = {};
    s.size = sizeof s;
    softmpc_get_sizes(c.get(), &s);
    EXPECT_EQ(s.rollouts, swapped ? 44 : 40);
    EXPECT_EQ(full.out.rollouts_used, s.rollouts);
  }
}

TEST_F(CApi, StatisticsCount) {
  const Handle c = open();
  for (int tick = 0; tick < 4; ++tick) status(c, observation(tick));
  status(c, {1, 2});
  softmpc_statistics s = {};
  s.size = sizeof s;
  ASSERT_EQ(softmpc_get_statistics(c.get(), &s), SOFTMPC_DONE);
  EXPECT_EQ(s.plans, 5u);
  EXPECT_EQ(s.by_status[SOFTMPC_STATUS_OK], 4u);
  EXPECT_EQ(s.by_status[SOFTMPC_STATUS_BAD_STATE], 1u);
  EXPECT_EQ(s.fallbacks, 1u);
  EXPECT_GT(s.p50_ns, 0);
  EXPECT_LE(s.p50_ns, s.p90_ns);
  EXPECT_LE(s.p90_ns, s.p99_ns);
  EXPECT_LE(s.p99_ns, s.p999_ns);
  EXPECT_LE(s.p999_ns, s.max_ns);
}

TEST_F(CApi, ABlackBoxHoldsWhatFlew) {
  const std::string box = folder.file("flight");
  softmpc_options options = c_api::default_options();
  options.precision = "float32";
  options.black_box = box.c_str();
  char notes[100] = "";
  {
    const Handle c = open(options);
    for (int tick = 0; tick < 4; ++tick) status(c, observation(tick));
    EXPECT_EQ(softmpc_get_notes(c.get(), notes, sizeof notes), SOFTMPC_DONE);
    EXPECT_STREQ(notes, "");
    const Handle second = open(options);
    EXPECT_EQ(softmpc_get_notes(second.get(), notes, sizeof notes), SOFTMPC_DONE);
    EXPECT_EQ(std::string(notes).find("black box " + box), 0u) << notes;
    EXPECT_EQ(softmpc_get_notes(second.get(), notes, 0), SOFTMPC_ERROR_ARGUMENT);
    EXPECT_EQ(softmpc_get_notes(second.get(), nullptr, 9), SOFTMPC_ERROR_ARGUMENT);
    EXPECT_EQ(softmpc_get_notes(nullptr, notes, sizeof notes), SOFTMPC_ERROR_ARGUMENT);
  }
  const BlackBox flight(box);
  ASSERT_EQ(flight.size(), 4u);
  const auto reward = make_rollout_reward(bundle);
  ControllerOptions again = flight.options();
  again.precision = flight[0].precision;
  Controller controller(bundle, reward.get(), again);
  for (std::size_t i = 0; i < flight.size(); ++i)
    EXPECT_TRUE(same_bits(flight[i], controller.replay(flight[i])));
  options.precision = "float12";
  EXPECT_EQ(refused(options), SOFTMPC_ERROR_ARGUMENT);
  EXPECT_EQ(error.find("options.precision: "), 0u) << error;
  options.precision = nullptr;
  options.black_box = "file:0";
  EXPECT_EQ(refused(options), SOFTMPC_ERROR_ARGUMENT);
}

// ---- callbacks ----

struct User {
  softmpc_controller* self = nullptr;
  int error = 0, calls = 0;
  bool nan = false;
  softmpc_status why = SOFTMPC_STATUS_OK, inner = SOFTMPC_STATUS_OK;
  softmpc_result inner_result = SOFTMPC_DONE;
  const float* state = nullptr;

  static User& of(void* user) { return *static_cast<User*>(user); }
  static std::int32_t reward(void* user, const float* x, const float* a, const float* next,
                             std::int32_t stride, std::int32_t count, float* out) {
    (void)x;
    for (int j = 0; j < count; ++j)
      out[j] = of(user).nan ? NAN : -next[stride + j] * next[stride + j] - 0.1f * a[j] * a[j];
    return of(user).error;
  }
  static std::int32_t terminated(void* user, const float* next, std::int32_t stride,
                                 std::int32_t count, std::uint8_t* out) {
    for (int j = 0; j < count; ++j) out[j] = next[stride + j] > 100;
    return of(user).error;
  }
  static std::int32_t step(void* user, const float* x, const float* a, std::int32_t stride,
                           std::int32_t count, float* next) {
    for (int i = 0; i < 12; ++i)
      for (int j = 0; j < count; ++j)
        next[i * stride + j] = x[i * stride + j] + (i < 3 ? 0.1f * a[i * stride + j] : 0);
    return of(user).error;
  }
  static std::int32_t value(void* user, const float* x, const float*, std::int32_t stride,
                            std::int32_t count, float* out) {
    for (int j = 0; j < count; ++j) out[j] = of(user).nan ? NAN : -std::abs(x[stride + j]);
    return of(user).error;
  }
  static std::int32_t validate(void* user, const float* state, const softmpc_plan_out* plan) {
    User& u = of(user);
    ++u.calls;
    u.state = state;
    EXPECT_TRUE(plan->action != nullptr && plan->sequence != nullptr);
    // the handle is in use: every call into it is refused
    softmpc_request in = request_of(state);
    float action[3];
    softmpc_plan_out out = {};
    out.size = sizeof out;
    out.action = action;
    u.inner = softmpc_plan(u.self, &in, &out);
    u.inner_result = softmpc_reset(u.self);
    return u.error;
  }
  static softmpc_request request_of(const float* state) {
    softmpc_request in = {};
    in.size = sizeof in;
    in.state = state;
    return in;
  }
  static std::int32_t fall_back(void* user, softmpc_status why, const float* state, float* action) {
    User& u = of(user);
    ++u.calls;
    u.why = why;
    u.state = state;
    action[0] = u.nan ? NAN : 0.25f;
    action[1] = action[2] = 99;  // clipped
    return u.error;
  }
};

softmpc_options with(User& user) {
  softmpc_options options = c_api::default_options();
  options.user = &user;
  return options;
}

TEST_F(CApi, OwnModelsTakeTheBundlesPlace) {
  User user;
  softmpc_options options = with(user);
  options.reward = User::reward;
  options.terminated = User::terminated;
  options.step = User::step;
  options.value = User::value;
  const Handle c = open(options);
  softmpc_sizes s = {};
  s.size = sizeof s;
  softmpc_get_sizes(c.get(), &s);
  EXPECT_EQ(s.members, 1);

  struct Own final : RewardModel, DynamicsModel, TerminalValue {
    User* user;
    void reward(ConstColumns x, ConstColumns a, ConstColumns next, int n,
                float* out) const override {
      User::reward(user, x.data, a.data, next.data, x.stride, n, out);
    }
    bool has_termination() const override { return true; }
    void terminated(ConstColumns next, int n, std::uint8_t* out) const override {
      User::terminated(user, next.data, next.stride, n, out);
    }
    int members() const override { return 1; }
    std::size_t scratch_bytes(int) const override { return 0; }
    void step(int, ConstColumns x, ConstColumns a, int n, const StepResult& out,
              void*) const override {
      User::step(user, x.data, a.data, x.stride, n, out.next.data);
    }
    void evaluate(ConstColumns x, ConstColumns a, int n, float* out, void*) const override {
      User::value(user, x.data, a.data, x.stride, n, out);
    }
    DeviceRules device_rules() const override { return {}; }
  } own;
  own.user = &user;
  Controller controller(bundle, &own, {.dynamics = &own, .value = &own});
  for (int tick = 0; tick < 5; ++tick) {
    const auto x = observation(tick);
    Full full;
    EXPECT_EQ(plan(c, request(x), full), SOFTMPC_STATUS_OK);
    const Plan& expected = controller.plan({.observation = x});
    EXPECT_EQ(std::vector<float>(expected.sequence.begin(), expected.sequence.end()),
              full.sequence);
    EXPECT_EQ(expected.value, full.out.value);
  }
}

TEST_F(CApi, ACallbacksErrorIsTheFallback) {
  const auto each = [&](const char* name, auto set) {
    SCOPED_TRACE(name);
    User user;
    softmpc_options options = with(user);
    set(options);
    user.error = 3;
    EXPECT_EQ(refused(options), SOFTMPC_ERROR_ARGUMENT);
    EXPECT_EQ(error, std::string("options.") + name + " returned the error 3");
    user.error = 0;
    for (const int threads : {1, 2}) {
      options.threads = threads;
      const Handle c = open(options);
      EXPECT_EQ(status(c, observation(0)), SOFTMPC_STATUS_OK);
      user.error = -7;
      Full full;
      EXPECT_EQ(plan(c, request(observation(1)), full), SOFTMPC_STATUS_USER_ERROR);
      EXPECT_EQ(full.out.from_fallback, 1);
      EXPECT_TRUE(std::isnan(full.out.value) && std::isnan(full.predicted[47]));
      user.error = 0;
      EXPECT_EQ(status(c, observation(2)), SOFTMPC_STATUS_OK);
    }
  };
  each("reward", [](softmpc_options& o) { o.reward = User::reward; });
  each("step", [](softmpc_options& o) { o.step = User::step; });
  each("value", [](softmpc_options& o) { o.value = User::value; });
  bundle.planner.handle_terminations = true;
  save();
  each("terminated", [](softmpc_options& o) { o.terminated = User::terminated; });
}

TEST_F(CApi, ACallbackThatWritesNanIsNotSent) {
  for (const bool reward : {true, false}) {
    User user;
    softmpc_options options = with(user);
    if (reward)
      options.reward = User::reward;
    else
      options.value = User::value;
    const Handle c = open(options);
    user.nan = true;
    Full full;
    EXPECT_EQ(plan(c, request(observation(1)), full), SOFTMPC_STATUS_NOT_FINITE);
    EXPECT_EQ(full.out.from_fallback, 1);
    EXPECT_EQ(refused(options), SOFTMPC_ERROR_UNSUPPORTED);
    EXPECT_NE(error.find("not_finite"), std::string::npos) << error;
  }
}

TEST_F(CApi, AValidatorSendsRejectsAndIsRefusedTheHandle) {
  User user;
  softmpc_options options = with(user);
  options.validate = User::validate;
  const Handle c = open(options);
  user.self = c.get();
  const auto x = observation(1);
  EXPECT_EQ(status(c, x), SOFTMPC_STATUS_OK);
  EXPECT_EQ(user.calls, 1);
  EXPECT_EQ(user.state, x.data());
  EXPECT_EQ(user.inner, SOFTMPC_STATUS_WRONG_ARGUMENT);
  EXPECT_EQ(user.inner_result, SOFTMPC_ERROR_BUSY);
  for (const int no : {1, 2, 5, -1}) {
    user.error = no;
    EXPECT_EQ(status(c, x), SOFTMPC_STATUS_REJECTED) << no;
  }
  user.error = 0;
  EXPECT_EQ(status(c, x), SOFTMPC_STATUS_OK);
}

TEST_F(CApi, AFallbackOfTheCallers) {
  User user;
  softmpc_options options = with(user);
  options.fallback = SOFTMPC_FALLBACK_CALLBACK;
  EXPECT_EQ(refused(options), SOFTMPC_ERROR_ARGUMENT);
  options.on_fallback = User::fall_back;
  const Handle c = open(options);
  Full full;
  const std::vector<float> bad(12, NAN);
  EXPECT_EQ(plan(c, request(bad), full), SOFTMPC_STATUS_BAD_STATE);
  EXPECT_EQ(full.action, (std::vector<float>{0.25f, 1.5f, 1.5f}));
  EXPECT_EQ(user.why, SOFTMPC_STATUS_BAD_STATE);
  EXPECT_EQ(user.state, bad.data());
  plan(c, request({1, 2}), full);
  EXPECT_EQ(user.state, nullptr);
  for (const bool nan : {true, false}) {
    ASSERT_EQ(softmpc_reset(c.get()), SOFTMPC_DONE);
    user.nan = nan;
    user.error = nan ? 0 : 1;
    plan(c, request(bad), full);
    EXPECT_EQ(full.action, (std::vector<float>{0, 0, 0}));
  }
}

}  // namespace
}  // namespace softmpc
