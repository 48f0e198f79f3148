// SPDX-License-Identifier: Apache-2.0
// Tests cpu/tile_clock.h and recent_slowest.h: done rollouts and the order of tiles against a count
// of every lane, what is expected of a tile, and that expectations are forgotten.
#include "cpu/tile_clock.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "random_models.h"

namespace softmpc::cpu {
namespace {

using namespace std::chrono_literals;
using Clock = TileClock::Clock;
using softmpc::testing::Random;

constexpr auto kNoWork = [](int) {};

/// Leading rollouts of every problem whose tile is done, lane by lane.
int leading(const Tiling& tiling, int problems, int rollouts, const std::vector<bool>& done) {
  int least = rollouts;
  for (int b = 0; b < problems; ++b) {
    int k = 0;
    while (k < rollouts && done[tiling.find(b * rollouts + k)]) ++k;
    least = std::min(least, k);
  }
  return least;
}

struct Shape {
  int problems, rollouts, threads;
  Tiling tiling;
  explicit Shape(Random& random)
      : problems(random.whole(1, 6)),
        rollouts(random.whole(1, 700)),
        threads(random.whole(1, 4)),
        tiling(problems * rollouts, random.coin() ? 3 : 12, threads) {}
  std::string text() const {
    return std::to_string(problems) + " x " + std::to_string(rollouts) + ", " +
           std::to_string(threads) + " threads";
  }
};

TEST(TileClock, CountsTheLeadingRolloutsOfAnyTiles) {
  Random random(8);
  for (int run = 0; run < 300; ++run) {
    const Shape shape(random);
    SCOPED_TRACE(shape.text());
    TileClock clock;
    clock.prepare(shape.tiling.count());
    clock.begin_solve(shape.tiling, shape.rollouts, Clock::now() + 1h);
    clock.begin_iteration();
    std::vector<bool> done(shape.tiling.count());
    for (int i = 0; i < shape.tiling.count(); ++i)
      if (random.whole(0, 9) > 0) clock.run(i, [&](int tile) { done[tile] = true; });
    EXPECT_EQ(clock.end_iteration(), leading(shape.tiling, shape.problems, shape.rollouts, done));
  }
}

TEST(TileClock, ItsOrderAdvancesAllProblemsAsFarAsSoManyTilesCan) {
  Random random(9);
  for (int run = 0; run < 100; ++run) {
    const Shape shape(random);
    SCOPED_TRACE(shape.text());
    TileClock clock;
    clock.prepare(shape.tiling.count());
    clock.begin_solve(shape.tiling, shape.rollouts, Clock::now() + 1h);
    clock.begin_iteration();
    std::vector<bool> done(shape.tiling.count());
    for (int i = 0; i < shape.tiling.count(); ++i) {
      clock.run(i, [&](int tile) { done[tile] = true; });
      const int got = leading(shape.tiling, shape.problems, shape.rollouts, done);
      // one rollout more of each problem needs more tiles than these
      std::vector<bool> needed(shape.tiling.count());
      for (int b = 0; b < shape.problems; ++b)
        for (int k = 0; k <= std::min(got, shape.rollouts - 1); ++k)
          needed[shape.tiling.find(b * shape.rollouts + k)] = true;
      if (got < shape.rollouts) {
        EXPECT_GT(std::ranges::count(needed, true), i + 1);
      }
    }
  }
}

TEST(TileClock, HasRoomForTheTilesOfSmallerSolves) {
  Random random(10);
  for (int run = 0; run < 300; ++run) {
    const int lanes = random.whole(1, 5000), wide = random.coin() ? 3 : 12;
    const int threads = random.whole(1, 8), most = Tiling::most(lanes, wide, threads);
    for (int fewer = 1; fewer <= lanes; fewer += 1 + lanes / 50)
      EXPECT_LE(Tiling(fewer, wide, threads).count(), most);
    EXPECT_LE(Tiling(lanes, wide, threads).count(), most);
  }
}

/// One iteration of ten tiles: how many began.
struct TenTiles : ::testing::Test {
  Tiling tiling{480, 3, 1};
  TileClock clock;
  TenTiles() { clock.prepare(tiling.count()); }
  template <class F>
  int begun(Clock::time_point deadline, const F& work) {
    int count = 0;
    clock.begin_solve(tiling, 480, deadline);
    clock.begin_iteration();
    for (int i = 0; i < tiling.count(); ++i) clock.run(i, [&](int tile) { ++count, work(tile); });
    EXPECT_EQ(clock.end_iteration(), 48 * count);
    clock.end_solve(count > 0);
    return count;
  }
};

TEST_F(TenTiles, NoneBeginsAfterOneThatWouldBeLate) {
  EXPECT_EQ(begun(Clock::time_point::min(), kNoWork), 0);
  EXPECT_EQ(begun(Clock::now(), kNoWork), 0);
  EXPECT_EQ(begun(Clock::now() + 1h, kNoWork), 10);
  const Clock::time_point soon = Clock::now() + 20ms;
  EXPECT_LE(begun(soon,
                  [&](int tile) {
                    if (tile == 3) std::this_thread::sleep_until(soon);
                  }),
            4);
}

TEST_F(TenTiles, ATileIsExpectedToTakeWhatTheSlowestTook) {
  begun(Clock::now() + 1h, [](int tile) {
    if (tile == 7) std::this_thread::sleep_for(200ms);
  });
  EXPECT_EQ(begun(Clock::now() + 150ms, kNoWork), 0);
  EXPECT_EQ(begun(Clock::now() + 1h, kNoWork), 10);
}

TEST_F(TenTiles, ASlowTileIsForgottenWhereNoneBegins) {
  begun(Clock::now() + 1h, [](int) { std::this_thread::sleep_for(100ms); });
  int refused = 0;
  while (refused < 1000 && begun(Clock::now() + 90ms, kNoWork) == 0) ++refused;
  EXPECT_GE(refused, 9);     // of ten tiles each, after which all hundred are forgotten
  EXPECT_LT(refused, 1000);  // a busy machine may add some
  // but not for callers who come too late
  begun(Clock::now() + 1h, [](int) { std::this_thread::sleep_for(10ms); });
  for (int i = 0; i < 200; ++i) EXPECT_EQ(begun(Clock::now(), kNoWork), 0);
  EXPECT_EQ(begun(Clock::now() + 9ms, kNoWork), 0);
}

TEST(RecentSlowest, IsTheLargestOfTheLastHundred) {
  Random random(4);
  RecentSlowest recent;
  std::deque<int> last;
  EXPECT_EQ(recent.slowest(), 0ns);
  for (int i = 0; i < 1000; ++i) {
    last.push_back(random.whole(0, 1'000'000));
    if (last.size() > 100) last.pop_front();
    recent.add(std::chrono::nanoseconds(last.back()));
    EXPECT_EQ(recent.slowest(), std::chrono::nanoseconds(*std::ranges::max_element(last)));
  }
}

}  // namespace
}  // namespace softmpc::cpu
