// SPDX-License-Identifier: Apache-2.0
// Tests what outlives a tick: saved states, hot swaps, statistics.
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "control/controllers.h"
#include "control/loop_state.h"
#include "io/crc32c.h"
#include "softmpc/error.h"

namespace softmpc {
namespace {

using namespace testing;

struct State : SmallController {
  static std::vector<std::byte> saved(const Controller& c) {
    std::vector<std::byte> bytes(c.state_size());
    EXPECT_TRUE(c.save_state(bytes));
    return bytes;
  }
  static std::vector<double> play(Controller& c, int from, int to) {
    std::vector<double> out;
    for (int tick = from; tick < to; ++tick) {
      const auto x = observation(tick);
      const auto numbers = SmallController::numbers(
          c.plan({.observation = x, .state_time = kStart + tick * milliseconds(73)}));
      out.insert(out.end(), numbers.begin(), numbers.end());
    }
    return out;
  }
};

TEST_F(State, AControllerGoesOnWhereAnotherWasSaved) {
  const ControllerOptions options = {.max_rate = {3, 3}, .command_delay = milliseconds(150)};
  Controller first = make(options), second = make(options);
  play(first, 0, 7);
  const auto bytes = saved(first);
  const auto expected = play(first, 7, 15);
  EXPECT_NE(play(second, 7, 15), expected);
  EXPECT_TRUE(second.load_state(bytes));
  EXPECT_EQ(saved(second), bytes);
  EXPECT_EQ(play(second, 7, 15), expected);
}

TEST_F(State, OnlyASavedStateOfTheSameSizesIsLoaded) {
  Controller controller = make();
  play(controller, 0, 3);
  const auto bytes = saved(controller);
  std::vector<std::byte> small(bytes.size() - 1);
  EXPECT_FALSE(controller.save_state(small));
  EXPECT_FALSE(controller.load_state(small));
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    auto damaged = bytes;
    damaged[i] ^= std::byte{16};
    EXPECT_FALSE(controller.load_state(damaged)) << i;
  }
  bundle.planner.horizon = 4;
  Controller longer = make();
  EXPECT_FALSE(controller.load_state(saved(longer)));
  EXPECT_EQ(saved(controller), bytes);
}

// A checksum that is right says nothing of the rest: what is loaded must be harmless all the same.
TEST_F(State, AForgedStateDoesNoHarm) {
  const ControllerOptions options = {.command_delay = milliseconds(150)};
  Controller controller = make(options);
  play(controller, 0, 3);
  const auto bytes = saved(controller);
  constexpr std::size_t kHeader = sizeof(SavedHeader);
  Random forger(4);
  int loaded = 0;
  for (int run = 0; run < 3000; ++run) {
    auto forged = bytes;
    for (int k = forger.whole(1, 8); k > 0; --k) {
      // the counts, times and the plan matter more than the commands of long ago
      const int reach = forger.coin() ? 100 : static_cast<int>(bytes.size() - kHeader) - 1;
      forged[kHeader + forger.whole(0, reach)] = static_cast<std::byte>(forger.whole(0, 255));
    }
    const std::uint32_t checksum = crc32c(std::span(forged).subspan(kHeader));
    std::memcpy(forged.data() + offsetof(SavedHeader, checksum), &checksum, 4);
    if (!controller.load_state(forged)) continue;
    ++loaded;
    for (int tick = 3; tick < 5; ++tick) {
      const auto x = observation(tick);
      const Plan& plan = controller.plan({.observation = x, .state_time = kStart + tick * kStep});
      ASSERT_TRUE(in_bounds(plan.action));
    }
  }
  EXPECT_GT(loaded, 100);
  EXPECT_TRUE(controller.load_state(bytes));
}

TEST_F(State, CountsOfAForgedStateDoNotOverflow) {
  Controller controller = make();
  auto forged = saved(controller);
  const std::int32_t most = std::numeric_limits<std::int32_t>::max();
  std::memcpy(&forged[sizeof(SavedHeader) + offsetof(TickCounts, fallbacks_in_a_row)], &most, 4);
  const std::uint32_t checksum = crc32c(std::span(forged).subspan(sizeof(SavedHeader)));
  std::memcpy(&forged[offsetof(SavedHeader, checksum)], &checksum, 4);
  ASSERT_TRUE(controller.load_state(forged));
  for (std::uint64_t tick = 1; tick < 4; ++tick) {
    controller.plan(PlanRequest{});
    EXPECT_EQ(controller.statistics().rests, tick);
  }
}

// Times are clipped there, and those that a delay adds lie behind.
TEST_F(State, AStateOfTheEndOfTimeIsLoaded) {
  for (const Nanoseconds end : {Nanoseconds::max(), Nanoseconds::min()}) {
    Controller controller = make({.command_delay = milliseconds(150)});
    const auto x = observation(0);
    for (const Nanoseconds time : {kStart, end, Nanoseconds(0)}) {
      controller.plan({.observation = x, .state_time = time});
      EXPECT_TRUE(controller.load_state(saved(controller))) << time.count();
    }
  }
}

TEST_F(State, ASwapExchangesNetsAndKeepsThePlan) {
  Bundle other = bundle;
  other.critics = random_weights(random, 1, NetSpec::mlp({6, 24, 1}));  // wider, too
  other.planner.rollouts = 60;
  Controller controller = make(), stays = make();
  play(controller, 0, 3);
  play(stays, 0, 3);
  Prepared prepared(controller, other);
  const auto before = saved(controller);
  controller.swap(prepared);
  EXPECT_EQ(saved(controller), before);
  EXPECT_EQ(controller.statistics().swaps, 1u);
  const auto x = observation(3);
  const Plan& plan = controller.plan({.observation = x, .state_time = kStart + 3 * kStep});
  EXPECT_EQ(plan.bundle_hash, bundle_hash(other));
  EXPECT_EQ(plan.rollouts_used, 60);
  controller.load_state(before);
  controller.swap(prepared);  // back again
  EXPECT_EQ(play(controller, 3, 8), play(stays, 3, 8));
  Prepared moved = std::move(prepared);
  prepared = std::move(moved);
  controller.swap(prepared);
  EXPECT_EQ(controller.plan(x).bundle_hash, bundle_hash(other));
}

TEST_F(State, ABundleThatDoesNotFitIsRefusedInASentence) {
  Controller controller = make();
  play(controller, 0, 20);
  const auto refused = [&](const std::string& word, auto change) {
    Bundle other = bundle;
    change(other);
    try {
      Prepared prepared(controller, other);
      ADD_FAILURE() << word << " was taken";
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
    }
  };
  refused("nx", [](Bundle& b) { b.nx = 5; });
  refused("dt", [](Bundle& b) { b.dt = 0.2; });
  refused("horizon", [](Bundle& b) { b.planner.horizon = 5; });
  refused("bounds", [](Bundle& b) { b.action_high[1] = 3; });
  refused("neutral", [](Bundle& b) { b.planner.neutral = {0.25}; });
  refused("task", [](Bundle& b) { b.task = "another"; });
  refused("finite", [](Bundle& b) {
    for (float& w : b.members.parameters) w = 1e38f;
  });
  refused("spread", [](Bundle& b) {
    const auto bias = b.critics.bias(b.critics.layers() - 1);
    bias[0] = 1e5f;
  });
  EXPECT_EQ(controller.plan(observation(1)).bundle_hash, bundle_hash(bundle));
}

TEST(Latency, PercentilesAreWithinABucket) {
  LatencyHistogram none;
  EXPECT_EQ(none.percentile(0.5).count(), 0);
  LatencyHistogram h;
  for (int i = 1; i <= 1000; ++i) h.add(std::chrono::microseconds(10 * i));
  for (const double share : {0.1, 0.5, 0.9, 0.99, 0.999}) {
    const double exact = share * 1e7;
    EXPECT_GE(static_cast<double>(h.percentile(share).count()), exact);
    EXPECT_LE(static_cast<double>(h.percentile(share).count()), exact * 1.0906);
  }
  EXPECT_EQ(h.percentile(1), h.longest());
  EXPECT_EQ(h.longest(), std::chrono::milliseconds(10));
  h.add(std::chrono::nanoseconds(0));
  h.add(std::chrono::hours(1));
  EXPECT_EQ(h.percentile(1), std::chrono::hours(1));
  EXPECT_EQ(h.percentile(0), std::chrono::microseconds(1));
  EXPECT_EQ(h.count(), 1002u);
}

}  // namespace
}  // namespace softmpc
