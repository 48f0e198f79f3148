// SPDX-License-Identifier: Apache-2.0
// Tests the C interface's answers to wrong input: a number and a sentence, or a status and a
// command.
#include <cmath>
#include <cstdint>
#include <limits>

#include "c/c_fixture.h"
#include "io/atomic_file.h"
#include "io/safetensors.h"

namespace softmpc {
namespace {

using namespace testing;

constexpr std::int64_t kSecond = 1'000'000'000;

TEST_F(CApi, NullIsAnArgument) {
  softmpc_options options = c_api::default_options();
  softmpc_controller* out = nullptr;
  char text[100];
  EXPECT_EQ(softmpc_open(nullptr, &options, &out, text, sizeof text), SOFTMPC_ERROR_ARGUMENT);
  EXPECT_STREQ(text, "bundle: is NULL, must be a path");
  EXPECT_EQ(softmpc_open(path.c_str(), &options, nullptr, text, sizeof text),
            SOFTMPC_ERROR_ARGUMENT);
  EXPECT_EQ(softmpc_open_memory(nullptr, 3, &options, &out, text, sizeof text),
            SOFTMPC_ERROR_ARGUMENT);
  EXPECT_EQ(softmpc_open_memory(text, 3, &options, nullptr, nullptr, 9), SOFTMPC_ERROR_ARGUMENT);
  softmpc_prepared* prepared = nullptr;
  EXPECT_EQ(softmpc_prepare(nullptr, path.c_str(), &prepared, text, sizeof text),
            SOFTMPC_ERROR_ARGUMENT);
  const Handle c = open();
  EXPECT_EQ(softmpc_prepare(c.get(), nullptr, &prepared, nullptr, 0), SOFTMPC_ERROR_ARGUMENT);
  EXPECT_EQ(softmpc_prepare(c.get(), path.c_str(), nullptr, nullptr, 0), SOFTMPC_ERROR_ARGUMENT);
  EXPECT_EQ(softmpc_swap(c.get(), nullptr), SOFTMPC_ERROR_ARGUMENT);
  EXPECT_EQ(softmpc_swap(nullptr, nullptr), SOFTMPC_ERROR_ARGUMENT);
  softmpc_sizes sizes = {};
  sizes.size = sizeof sizes;
  softmpc_statistics statistics = {};
  statistics.size = sizeof statistics;
  float numbers[3];
  EXPECT_EQ(softmpc_get_sizes(nullptr, &sizes), SOFTMPC_ERROR_ARGUMENT);
  EXPECT_EQ(softmpc_get_sizes(c.get(), nullptr), SOFTMPC_ERROR_ARGUMENT);
  EXPECT_EQ(softmpc_get_statistics(nullptr, &statistics), SOFTMPC_ERROR_ARGUMENT);
  EXPECT_EQ(softmpc_get_statistics(c.get(), nullptr), SOFTMPC_ERROR_ARGUMENT);
  EXPECT_EQ(softmpc_get_bounds(nullptr, numbers, numbers), SOFTMPC_ERROR_ARGUMENT);
  EXPECT_EQ(softmpc_get_bounds(c.get(), numbers, nullptr), SOFTMPC_ERROR_ARGUMENT);
  EXPECT_EQ(softmpc_reset(nullptr), SOFTMPC_ERROR_ARGUMENT);
  EXPECT_EQ(softmpc_save_state(nullptr, numbers, 1), SOFTMPC_ERROR_ARGUMENT);
  EXPECT_EQ(softmpc_save_state(c.get(), nullptr, 1), SOFTMPC_ERROR_ARGUMENT);
  EXPECT_EQ(softmpc_load_state(nullptr, numbers, 1), SOFTMPC_ERROR_ARGUMENT);
  EXPECT_EQ(softmpc_load_state(c.get(), nullptr, 1), SOFTMPC_ERROR_ARGUMENT);
  softmpc_options_init(nullptr, 8);
  softmpc_prepared_free(nullptr);
  softmpc_close(nullptr);
}

TEST_F(CApi, APlanWithoutPointersIsNoPlan) {
  const Handle c = open();
  const auto x = observation(1);
  softmpc_request in = request(x);
  Full full;
  EXPECT_EQ(softmpc_plan(nullptr, &in, &full.out), SOFTMPC_STATUS_WRONG_ARGUMENT);
  EXPECT_EQ(softmpc_plan(c.get(), nullptr, &full.out), SOFTMPC_STATUS_WRONG_ARGUMENT);
  EXPECT_EQ(softmpc_plan(c.get(), &in, nullptr), SOFTMPC_STATUS_WRONG_ARGUMENT);
  full.out.action = nullptr;
  EXPECT_EQ(softmpc_plan(c.get(), &in, &full.out), SOFTMPC_STATUS_WRONG_ARGUMENT);
  full.out.action = full.action.data();
  in.state = nullptr;
  EXPECT_EQ(softmpc_plan(c.get(), &in, &full.out), SOFTMPC_STATUS_WRONG_ARGUMENT);
  EXPECT_EQ(full.action, std::vector<float>(3, -9));
  EXPECT_EQ(full.sequence, std::vector<float>(12, -9));
  in.state = x.data();
  full.out.sequence = full.out.predicted = nullptr;
  EXPECT_EQ(softmpc_plan(c.get(), &in, &full.out), SOFTMPC_STATUS_OK);
}

TEST_F(CApi, ASizeThatNoVersionHasIsAnArgument) {
  const Handle c = open();
  const auto x = observation(1);
  for (const std::size_t wrong : {std::size_t{0}, std::size_t{8}, sizeof(softmpc_statistics) + 8,
                                  std::size_t{17}, SIZE_MAX}) {
    SCOPED_TRACE(wrong);
    softmpc_options options = c_api::default_options();
    options.size = wrong;
    EXPECT_EQ(refused(options), SOFTMPC_ERROR_ARGUMENT);
    EXPECT_EQ(error.find("options.size: " + std::to_string(wrong) + " is no size"), 0u) << error;
    Full full;
    full.out.size = wrong;
    softmpc_request in = request(x);
    EXPECT_EQ(softmpc_plan(c.get(), &in, &full.out), SOFTMPC_STATUS_WRONG_ARGUMENT);
    full.out.size = sizeof full.out;
    in.size = wrong;
    EXPECT_EQ(softmpc_plan(c.get(), &in, &full.out), SOFTMPC_STATUS_WRONG_ARGUMENT);
    softmpc_sizes sizes = {};
    sizes.size = wrong;
    EXPECT_EQ(softmpc_get_sizes(c.get(), &sizes), SOFTMPC_ERROR_ARGUMENT);
    softmpc_statistics statistics = {};
    statistics.size = wrong;
    EXPECT_EQ(softmpc_get_statistics(c.get(), &statistics), SOFTMPC_ERROR_ARGUMENT);
  }
}

TEST_F(CApi, SmallerStructsHaveDefaultsForWhatTheyLack) {
  softmpc_options options = c_api::default_options();
  options.size = offsetof(softmpc_options, device);
  options.device = "no device";  // lies behind the size, and is not looked at
  const Handle c = open(options);
  const auto x = observation(1);
  softmpc_request in = request(x, 5 * kSecond);
  in.size = offsetof(softmpc_request, state_count);
  in.state_count = 5;
  Full full;
  full.out.size = offsetof(softmpc_plan_out, value);
  full.out.value = 42;
  EXPECT_EQ(softmpc_plan(c.get(), &in, &full.out), SOFTMPC_STATUS_OK);
  EXPECT_EQ(full.out.rollouts_used, 40);
  EXPECT_EQ(full.out.value, 42);  // not written
  softmpc_sizes sizes = {};
  sizes.size = offsetof(softmpc_sizes, horizon);
  sizes.horizon = -1;
  EXPECT_EQ(softmpc_get_sizes(c.get(), &sizes), SOFTMPC_DONE);
  EXPECT_EQ(sizes.nx, 12);
  EXPECT_EQ(sizes.horizon, -1);
}

TEST_F(CApi, OptionsOfANewerHeaderAreInitialisedAndRefused) {
  struct Newer {
    softmpc_options known;
    std::uint64_t later[2];
  } newer;
  std::memset(&newer, 0xAB, sizeof newer);
  softmpc_options_init(&newer.known, sizeof newer);
  EXPECT_EQ(newer.known.seed, 1u);
  EXPECT_EQ(newer.later[0] + newer.later[1], 0u);
  EXPECT_EQ(refused(newer.known), SOFTMPC_ERROR_ARGUMENT);
}

TEST_F(CApi, AStateThatCannotBeTrueIsAStatus) {
  const Handle c = open();
  EXPECT_EQ(status(c, observation(0)), SOFTMPC_STATUS_OK);
  for (const std::size_t length : {1, 11, 13, 1000})
    EXPECT_EQ(status(c, std::vector<float>(length)), SOFTMPC_STATUS_BAD_STATE) << length;
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const float wrong : {NAN, kInfinity, -kInfinity}) {
    auto x = observation(1);
    x[11] = wrong;
    EXPECT_EQ(status(c, x), SOFTMPC_STATUS_BAD_STATE);
  }
  for (const float huge : {1e30f, -3e38f, 100.0f}) {
    auto x = observation(1);
    x[4] = huge;
    EXPECT_EQ(status(c, x), SOFTMPC_STATUS_UNLIKELY_STATE) << huge;
  }
  EXPECT_EQ(status(c, observation(0)), SOFTMPC_STATUS_OK);
}

TEST_F(CApi, TimesThatCannotBeTrueStillGiveACommand) {
  softmpc_options options = c_api::default_options();
  options.max_state_age_ns = kSecond;
  options.command_delay_ns = 50'000'000;
  const Handle c = open(options);
  const auto x = observation(1);
  const std::int64_t years = 20 * 365 * 86400 * kSecond;
  for (const std::int64_t time : {5 * kSecond, std::int64_t{0}, 4 * kSecond, -kSecond, years,
                                  std::int64_t{1}, INT64_MAX, INT64_MIN, 6 * kSecond})
    for (const std::int64_t now : {std::int64_t{0}, time, INT64_MAX, INT64_MIN, std::int64_t{1}}) {
      softmpc_request in = request(x, time);
      in.now_ns = now;
      Full full;
      EXPECT_GE(plan(c, in, full), 0) << time << " " << now;
    }
  softmpc_statistics s = {};
  s.size = sizeof s;
  softmpc_get_statistics(c.get(), &s);
  EXPECT_GT(s.time_backwards, 3u);
}

TEST_F(CApi, ADeadlineInThePastLeavesNoTime) {
  const Handle c = open();
  const auto x = observation(1);
  for (const std::int64_t past : {std::int64_t{1}, std::int64_t{-1}, INT64_MIN}) {
    softmpc_request in = request(x);
    in.deadline_ns = past;
    Full full;
    EXPECT_EQ(plan(c, in, full), SOFTMPC_STATUS_NO_TIME);
    EXPECT_EQ(full.out.rollouts_used, 0);
  }
  softmpc_request in = request(x);
  in.deadline_ns = INT64_MAX;
  Full full;
  EXPECT_EQ(plan(c, in, full), SOFTMPC_STATUS_OK);
}

TEST_F(CApi, OptionsOutOfRangeAreNamed) {
  const auto wrong = [&](const char* text, auto set, softmpc_result result) {
    softmpc_options options = c_api::default_options();
    set(options);
    EXPECT_EQ(refused(options), result) << text;
    EXPECT_NE(error.find(text), std::string::npos) << error;
  };
  using O = softmpc_options;
  constexpr softmpc_result kArgument = SOFTMPC_ERROR_ARGUMENT;
  wrong(
      "threads: 1000000", [](O& o) { o.threads = 1'000'000; }, kArgument);
  wrong(
      "threads: -1", [](O& o) { o.threads = -1; }, kArgument);
  wrong(
      "min_rollouts", [](O& o) { o.min_rollouts = 41; }, kArgument);
  wrong(
      "options.fallback: 4", [](O& o) { o.fallback = 4; }, kArgument);
  wrong(
      "options.fallback: -1", [](O& o) { o.fallback = -1; }, kArgument);
  wrong(
      "options.reading: 2", [](O& o) { o.reading = 2; }, kArgument);
  wrong(
      "options.want_predicted: 2", [](O& o) { o.want_predicted = 2; }, kArgument);
  wrong(
      "max_fallbacks", [](O& o) { o.max_fallbacks = -1; }, kArgument);
  wrong(
      "max_state_age", [](O& o) { o.max_state_age_ns = -1; }, kArgument);
  wrong(
      "command_delay", [](O& o) { o.command_delay_ns = INT64_MAX; }, kArgument);
  wrong(
      "state_margin", [](O& o) { o.state_margin = NAN; }, kArgument);
  static const float beyond[] = {0, 9, 0}, zero[] = {1, 0, 1};
  wrong(
      "rest", [](O& o) { o.rest = beyond; }, kArgument);
  wrong(
      "max_rate", [](O& o) { o.max_rate = zero; }, kArgument);
  wrong(
      "options.device: 'tpu'", [](O& o) { o.device = "tpu"; }, kArgument);
  // no formula of a callback's reaches a device, where there is one
  wrong(
      "",
      [](O& o) {
        o.device = "cuda";
        o.value = [](void*, const float*, const float*, std::int32_t, std::int32_t, float*) {
          return std::int32_t{0};
        };
      },
      SOFTMPC_ERROR_DEVICE);
  softmpc_options options = c_api::default_options();
  options.threads = 0;  // all cores
  EXPECT_EQ(status(open(options), observation(1)), SOFTMPC_STATUS_OK);
}

TEST_F(CApi, BundlesThatCannotBeLoadedAreNamed) {
  const softmpc_options options = c_api::default_options();
  EXPECT_EQ(refused(options, folder.file("none")), SOFTMPC_ERROR_FILE);
  EXPECT_NE(error.find("none"), std::string::npos);
  EXPECT_EQ(refused(options, folder.path()), SOFTMPC_ERROR_FILE);
  const std::string whole = read_file(path);
  const std::string cut = folder.file("cut");
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{7}, std::size_t{100}, whole.size() - 1}) {
    write_file_atomically(cut, std::string_view(whole).substr(0, size));
    EXPECT_EQ(refused(options, cut), SOFTMPC_ERROR_FORMAT) << size;
    EXPECT_EQ(error.find(cut), 0u) << error;
    softmpc_controller* out = nullptr;
    char text[300];
    EXPECT_EQ(softmpc_open_memory(whole.data(), size, nullptr, &out, text, sizeof text),
              SOFTMPC_ERROR_FORMAT);
    EXPECT_EQ(std::string(text).find("memory: "), 0u) << text;
  }
  std::string damaged = whole;
  damaged[damaged.size() - 5] ^= 1;
  write_file_atomically(cut, damaged);
  EXPECT_EQ(refused(options, cut), SOFTMPC_ERROR_FORMAT);
  EXPECT_NE(error.find("is corrupt"), std::string::npos) << error;
  TensorFile newer = decode_safetensors(whole);
  newer.metadata["format_version"] = "3";
  write_safetensors(cut, newer);
  EXPECT_EQ(refused(options, cut), SOFTMPC_ERROR_VERSION);
  EXPECT_NE(error.find("a newer softmpc is needed"), std::string::npos) << error;
}

TEST_F(CApi, ABundleWithoutARewardSaysSo) {
  const softmpc_options options = c_api::default_options();
  bundle.task = "my robot";
  save();
  EXPECT_EQ(refused(options), SOFTMPC_ERROR_UNSUPPORTED);
  EXPECT_EQ(error,
            "the bundle of my robot, which is no built-in task, needs a reward: learned in "
            "training (model.reward) or given as options.reward");
  softmpc_options given = options;
  given.reward = [](void*, const float*, const float*, const float*, std::int32_t,
                    std::int32_t count, float* out) {
    std::fill_n(out, count, 1.0f);
    return std::int32_t{0};
  };
  EXPECT_EQ(status(open(given), observation(1)), SOFTMPC_STATUS_OK);

  bundle.task = "Hopper";
  bundle.environment.positions = false;
  save();
  EXPECT_EQ(refused(options), SOFTMPC_ERROR_UNSUPPORTED);
  bundle.environment.positions = true;

  // nets that predict it
  bundle.task = "my robot";
  bundle.members = random_weights(random, 2, NetSpec::mlp({15, 16, 16, 13}), 0.7);
  bundle.outputs.reward = true;
  save();
  EXPECT_EQ(status(open(), observation(1)), SOFTMPC_STATUS_OK);
  EXPECT_EQ(refused(given), SOFTMPC_ERROR_UNSUPPORTED);

  bundle.members = {};
  bundle.outputs.reward = false;
  bundle.task = "Hopper";
  save();
  EXPECT_EQ(refused(options), SOFTMPC_ERROR_UNSUPPORTED);
  EXPECT_NE(error.find("options.step"), std::string::npos) << error;
}

TEST_F(CApi, RulesReadNothingBeyondTheState) {
  const SmallModels small(random, 5, 3, 2, 16);
  bundle.nx = 5;
  bundle.members = small.member_weights;
  bundle.critics = small.critic_weights;
  bundle.state_low.resize(5);
  bundle.state_high.resize(5);
  save();
  EXPECT_EQ(refused(c_api::default_options()), SOFTMPC_ERROR_UNSUPPORTED);
  EXPECT_EQ(error, "the rules of Hopper read nx 12, nu 3; the bundle has nx 5, nu 3");
}

TEST_F(CApi, ABundleThatDoesNotFitIsNotPrepared) {
  const Handle c = open();
  const auto refusal = [&](const std::string& file) {
    softmpc_prepared* out = nullptr;
    char text[300];
    const softmpc_result result = softmpc_prepare(c.get(), file.c_str(), &out, text, sizeof text);
    EXPECT_EQ(out, nullptr);
    error = text;
    return result;
  };
  EXPECT_EQ(refusal(folder.file("none")), SOFTMPC_ERROR_FILE);
  const SmallModels larger(random, 13, 3, 2, 16);
  Bundle other = bundle;
  other.nx = 13;
  other.members = larger.member_weights;
  other.critics = larger.critic_weights;
  other.state_low = other.state_high = {};
  save_bundle(other, folder.file("other"));
  EXPECT_EQ(refusal(folder.file("other")), SOFTMPC_ERROR_UNSUPPORTED);
  EXPECT_NE(error.find("nx 13"), std::string::npos) << error;
  EXPECT_EQ(status(c, observation(1)), SOFTMPC_STATUS_OK);
}

TEST_F(CApi, ErrorsAreCutAtTheBuffer) {
  softmpc_controller* out = nullptr;
  char text[8];
  const auto open_into = [&](std::size_t size) {
    std::memset(text, 'z', sizeof text);
    EXPECT_EQ(softmpc_open("/none", nullptr, &out, text, size), SOFTMPC_ERROR_FILE);
    return std::string(text, sizeof text);
  };
  EXPECT_EQ(open_into(0), "zzzzzzzz");
  EXPECT_EQ(open_into(1), std::string("\0zzzzzzz", 8));
  EXPECT_EQ(open_into(5), std::string("/non\0zzz", 8));
  EXPECT_EQ(softmpc_open("/none", nullptr, &out, nullptr, 100), SOFTMPC_ERROR_FILE);
  // not within a character
  EXPECT_EQ(softmpc_open("/a\xC3\xA4", nullptr, &out, text, 4), SOFTMPC_ERROR_FILE);
  EXPECT_STREQ(text, "/a");
}

TEST_F(CApi, AStateOfAnotherShapeIsNotLoaded) {
  c_api::Controller c(path);
  const auto good = c.save_state();
  std::vector<unsigned char> bytes = good;
  bytes.push_back(0);
  EXPECT_EQ(softmpc_save_state(c.get(), bytes.data(), bytes.size()), SOFTMPC_ERROR_ARGUMENT);
  EXPECT_EQ(softmpc_load_state(c.get(), bytes.data(), bytes.size()), SOFTMPC_ERROR_ARGUMENT);
  EXPECT_EQ(softmpc_load_state(c.get(), bytes.data(), 0), SOFTMPC_ERROR_ARGUMENT);
  bundle.planner.horizon = 4;
  save();
  const Handle longer = open();
  EXPECT_EQ(softmpc_load_state(longer.get(), good.data(), good.size()), SOFTMPC_ERROR_ARGUMENT);
  bytes = good;
  bytes[bytes.size() / 2] ^= 1;
  EXPECT_EQ(softmpc_load_state(c.get(), bytes.data(), bytes.size()), SOFTMPC_ERROR_ARGUMENT);
  EXPECT_EQ(c.save_state(), good);
}

}  // namespace
}  // namespace softmpc
