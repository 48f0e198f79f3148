// SPDX-License-Identifier: Apache-2.0
// Tests thread_pool.h: every index once, exceptions, started jobs, and races (under TSan).
#include "softmpc/thread_pool.h"

#include <atomic>
#include <chrono>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "memory_limit.h"
#include "softmpc/error.h"

namespace softmpc {
namespace {

class ThreadPoolTest : public ::testing::TestWithParam<int> {
 protected:
  ThreadPool pool{GetParam()};
};

TEST_P(ThreadPoolTest, RunsEachIndexOnceOnAValidWorker) {
  ASSERT_EQ(pool.threads(), GetParam());
  for (int count : {0, 1, 2, 7, 100, 1000}) {
    std::vector<int> hits(static_cast<std::size_t>(count));
    std::atomic<bool> valid{true};
    pool.run(count, [&](int index, int worker) {
      ++hits[static_cast<std::size_t>(index)];
      if (worker < 0 || worker >= pool.threads()) valid = false;
    });
    EXPECT_TRUE(valid);
    for (int h : hits) EXPECT_EQ(h, 1);
  }
}

// No two tasks share a worker at a time: scratch per worker needs no lock.
TEST_P(ThreadPoolTest, AWorkerDoesOneTaskAtATime) {
  std::vector<long> per_worker(static_cast<std::size_t>(pool.threads()));
  for (int round = 0; round < 200; ++round)
    pool.run(50, [&](int, int worker) { ++per_worker[static_cast<std::size_t>(worker)]; });
  EXPECT_EQ(std::accumulate(per_worker.begin(), per_worker.end(), 0L), 10'000);
}

TEST_P(ThreadPoolTest, ResultsAreVisibleAfterRun) {
  for (int round = 0; round < 2000; ++round) {
    int values[8] = {};
    pool.run(8, [&](int index, int) { values[index] = index + round; });
    for (int i = 0; i < 8; ++i) ASSERT_EQ(values[i], i + round);
  }
}

TEST_P(ThreadPoolTest, TheFirstExceptionIsRethrownAndThePoolGoesOn) {
  for (int count : {1, 20}) {
    try {
      pool.run(count, [](int, int) -> void { throw std::runtime_error("broken task"); });
      ADD_FAILURE() << "nothing thrown";
    } catch (const std::runtime_error& error) {
      EXPECT_EQ(std::string(error.what()), "broken task");
    }
    std::atomic<int> done{0};
    pool.run(count, [&](int, int) { ++done; });
    EXPECT_EQ(done, count);
  }
}

TEST_P(ThreadPoolTest, AStartedJobIsDoneByFinish) {
  for (int round = 0; round < 200; ++round) {
    int result = 0;
    std::atomic<int> tasks{0};
    pool.start([&](int) { result = round; });
    for (int i = 0; i < 3; ++i) pool.run(5, [&](int, int) { ++tasks; });
    pool.finish();
    ASSERT_EQ(result, round);
    ASSERT_EQ(tasks, 15);
  }
  pool.finish();  // nothing started: returns at once
}

TEST_P(ThreadPoolTest, AJobsExceptionComesOutOfFinishOnce) {
  pool.start([](int) { throw std::runtime_error("broken job"); });
  std::atomic<int> tasks{0};
  pool.run(5, [&](int, int) { ++tasks; });
  EXPECT_EQ(tasks, 5);
  EXPECT_THROW(pool.finish(), std::runtime_error);
  EXPECT_NO_THROW(pool.finish());
  int again = 0;
  pool.start([&](int) { again = 1; });
  pool.finish();
  EXPECT_EQ(again, 1);
}

TEST_P(ThreadPoolTest, ManyJobsAllRunEachOnAWorkerOfItsOwn) {
  std::vector<std::atomic<int>> inside(static_cast<std::size_t>(pool.threads()));
  std::atomic<int> done{0}, clashes{0};
  for (int i = 0; i < 50; ++i)
    pool.start([&](int worker) {
      if (inside[static_cast<std::size_t>(worker)]++ > 0) ++clashes;
      std::this_thread::yield();
      --inside[static_cast<std::size_t>(worker)];
      ++done;
    });
  pool.run(20, [](int, int) {});
  pool.finish();
  EXPECT_EQ(done, 50);
  EXPECT_EQ(clashes, 0);
}

TEST_P(ThreadPoolTest, DestructionWaitsForARunningJob) {
  std::atomic<bool> began{false}, ended{false};
  {
    ThreadPool own(GetParam());
    own.start([&](int) {
      began = true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      ended = true;
    });
    if (GetParam() > 1)
      while (!began) std::this_thread::yield();
  }
  EXPECT_EQ(ended, began);
}

TEST_P(ThreadPoolTest, Stress) {
  std::atomic<long> sum{0};
  long expected = 0;
  for (int round = 0; round < 500; ++round) {
    const int count = round % 13;
    const bool job = round % 3 == 0;
    if (job) pool.start([&](int) { sum += 1000; });
    pool.run(count, [&](int index, int) { sum += index; });
    if (job) pool.finish();
    expected += count * (count - 1) / 2 + (job ? 1000 : 0);
  }
  EXPECT_EQ(sum, expected);
}

INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolTest, ::testing::Values(1, 2, 3, 8));

TEST(ThreadPool, ZeroMeansTheAvailableCores) { EXPECT_GE(ThreadPool(0).threads(), 1); }

TEST(ThreadPool, AnImpossibleNumberIsRefused) {
  EXPECT_THROW(ThreadPool(-1), UsageError);
  EXPECT_THROW(ThreadPool(5000), UsageError);
}

// The threads that did start are stopped; before, the constructor waited for them for ever.
TEST(ThreadPoolLimits, ThreadsThatCannotStartAreAnError) {
  if (!test::kLimitsWork) GTEST_SKIP() << "a sanitizer lets no address space be limited";
  constexpr rlim_t kRoom = 200 << 20;  // a stack takes 8 MiB
  const std::string text = test::thrown_with_room_for(kRoom, [] { ThreadPool(1024); });
  EXPECT_TRUE(text.starts_with("threads: ")) << text;
  for (const char* part : {" of 1024 could start", "--threads", "ulimit -v"})
    EXPECT_NE(text.find(part), std::string::npos) << text;
  EXPECT_EQ(test::thrown_with_room_for(kRoom, [] { ThreadPool(3); }), "nothing thrown");
}

}  // namespace
}  // namespace softmpc
