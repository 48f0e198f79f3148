// SPDX-License-Identifier: Apache-2.0
// Tests that a controller of one thread makes no call of malloc or its kin, of a lock or a wait
// from its first plan on: by functions in place of glibc's, where allocation_test sees operator
// new.
#include "core/counted_calls.h"

#include <chrono>
#include <cmath>
#include <mutex>
#include <vector>

#include <gtest/gtest.h>

#include "core/random_models.h"
#include "softmpc/controller.h"

namespace softmpc {
namespace {

using namespace testing;

struct CountedCalls : ::testing::Test {
  Random random{2};
  SmallModels nets{random, 4, 3, 3, 16}, wider{random, 4, 3, 3, 40};
  std::vector<float> observation = std::vector<float>(4, 0.1f);

  Controller make(int threads) const {
    ControllerOptions options = {.threads = threads, .max_rate = {1, 1, 1}};
    options.command_delay = std::chrono::milliseconds(250);
    options.want_predicted = true;
    return Controller(bundle_of(nets), &nets.reward, options);
  }
};

TEST_F(CountedCalls, EachKindIsSeen) {
  Calls before = calls();
  ::operator delete(::operator new(8));  // a call that no compiler may leave out
  EXPECT_EQ(calls().allocations, before.allocations + 1);
  EXPECT_EQ(calls().frees, before.frees + 1);
  for (const std::size_t bytes : {1, 100'000}) {
    before = calls();
    void* volatile p = std::malloc(bytes);
    p = std::realloc(p, 2 * bytes);
    std::free(p);
    p = std::calloc(bytes, 1);
    std::free(p);
    void* aligned = nullptr;
    EXPECT_EQ(::posix_memalign(&aligned, 64, bytes), 0);
    std::free(aligned);
    EXPECT_EQ(calls().allocations, before.allocations + 4);
  }
  before = calls();
  std::mutex mutex;
  { const std::lock_guard lock(mutex); }
  EXPECT_EQ(calls().locks, before.locks + 1);
  // workers are woken and waited for
  Controller two = make(2);
  before = calls();
  two.plan(PlanRequest{.observation = observation});
  EXPECT_GT(calls().locks + calls().waits, before.locks + before.waits);
}

TEST_F(CountedCalls, NoTickMakesAny) {
  Controller controller = make(1);
  Prepared prepared(controller, bundle_of(wider));
  std::vector<float> bad(4, std::nanf(""));
  std::vector<std::byte> state(controller.state_size());
  const Calls before = calls();
  auto time = std::chrono::nanoseconds(5'000'000'000);
  for (int i = 0; i < 40; ++i) {
    time += std::chrono::milliseconds(30 + 20 * (i % 5));
    const auto begin = SolveBudget::Clock::now();
    const auto deadline = i % 2 == 0 ? no_deadline : begin + std::chrono::microseconds(40 * i);
    const auto& x = i % 7 == 6 ? bad : observation;
    controller.plan({.observation = x, .state_time = time, .deadline = deadline});
    controller.save_state(state);
    controller.load_state(state);
    if (i % 10 == 9) controller.swap(prepared);
    if (i % 15 == 14) controller.reset();
  }
  EXPECT_EQ(calls(), before);
}

}  // namespace
}  // namespace softmpc
