// SPDX-License-Identifier: Apache-2.0
// Tests that solve(), Controller::plan() and a Runner's calls and thread allocate nothing from
// their first call on: every operator new and delete of the process is counted.
#include <array>
#include <chrono>
#include <cmath>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "core/counted_allocations.h"
#include "core/random_models.h"
#include "softmpc/controller.h"
#include "softmpc/runner.h"
#include "softmpc/thread_pool.h"

namespace softmpc {
namespace {

using testing::allocations;
using testing::Buffers;
using testing::frees;
using testing::Random;
using testing::SmallModels;

PlannerConfig variant(int index) {
  PlannerConfig c;
  c.rollouts = 50;
  c.horizon = 3;
  c.iterations = 2;
  c.prior = index % 2 ? Prior::uniform : Prior::gaussian;
  c.control_mode = static_cast<ControlMode>(index % 3);
  c.member_draw = static_cast<MemberDraw>((index + 1) % 3);
  c.handle_terminations = index % 2 == 0;
  if (index >= 6) c.proposals = Proposals::plan_and_policy;
  return c;
}

/// Past, soon, far, and the part of a solve.
std::array<SolveBudget, 4> budgets() {
  const auto now = SolveBudget::Clock::now();
  return {SolveBudget{.deadline = now},
          {.deadline = now + std::chrono::milliseconds(2)},
          {.deadline = now + std::chrono::hours(1)},
          {.iterations = 1, .rollouts = 20}};
}

Bundle busy_bundle(const SmallModels& nets) {
  Bundle bundle = testing::bundle_of(nets);
  bundle.planner = variant(0);
  bundle.planner.handle_terminations = false;
  return bundle;
}

TEST(Allocation, TheCounterCounts) {
  const long before = allocations;
  // a call that no compiler may leave out
  ::operator delete(::operator new(8));
  EXPECT_GT(allocations, before);
}

TEST(Allocation, SolveAllocatesNothingFromTheFirstCallOn) {
  for (int threads : {1, 2, 4})
    for (int index = 0; index < 8; ++index) {
      Random random(2);
      const SmallModels nets(random, 4, 3, 3, 16, true);
      const PlannerConfig config = variant(index);
      ThreadPool pool(threads);
      const auto planner = make_planner(config, nets.shape(80), nets.models(), {.pool = &pool});
      Buffers one(1, nets.nx, nets.nu, config.horizon), many(80, nets.nx, nets.nu, config.horizon);
      const long before = allocations;
      planner->solve({1, 0}, one.batch());
      planner->update(nets.models());
      for (std::uint32_t solve = 1; solve < 20; ++solve) {
        planner->solve({1, solve}, one.batch());
        planner->shift(one.plan);
        planner->draw({1, solve}, kEpisodePlan, one.plan);
        planner->solve({1, solve}, many.batch());  // another batch size
        if (solve % 6 != 1) continue;
        for (const SolveBudget& budget : budgets()) {
          PlanBatch part = many.batch();
          part.budget = budget;
          planner->solve({1, solve}, part);
        }
      }
      EXPECT_EQ(allocations, before) << threads << " threads, variant " << index;
    }
}

TEST(Allocation, UpdatingNetworksAllocatesNothing) {
  Random random(2);
  const NetWeights w = testing::random_weights(random, 2, NetSpec::mlp({5, 16, 4}), 1, true);
  MlpDynamics model(w, 4, 1);
  const long before = allocations;
  model.update(w);
  EXPECT_EQ(allocations, before);
}

TEST(Allocation, ControllerAllocatesNothingFromTheFirstPlanOn) {
  Random random(2);
  const SmallModels nets(random, 4, 3, 3, 16);
  Bundle bundle = busy_bundle(nets);
  for (int run = 0; run < 4; ++run) {
    const int threads = 1 + run % 2;
    bundle.planner.precision = run < 2 ? Precision::float32 : Precision::bfloat16;
    Controller controller(bundle, &nets.reward, {1, threads});
    const std::vector<float> observation(4, 0.1f);
    const long before = allocations;
    for (int i = 0; i < 10; ++i) controller.plan(observation);
    controller.reset();
    controller.plan(observation);
    EXPECT_EQ(allocations, before) << threads << " threads";
  }
}

// With everything that a tick can have to do; prepared nets of other widths come in between.
TEST(Allocation, NoTickAllocates) {
  Random random(2);
  const SmallModels nets(random, 4, 3, 3, 16), wider(random, 4, 3, 3, 40);
  const Bundle bundle = busy_bundle(nets);
  for (const int threads : {1, 2}) {
    ControllerOptions options = {.threads = threads, .max_rate = {1, 1, 1}};
    options.command_delay = std::chrono::milliseconds(250);
    options.want_predicted = true;
    options.validate = [](std::span<const float>, const Plan&) { return Verdict::send; };
    Controller controller(bundle, &nets.reward, options);
    Prepared prepared(controller, busy_bundle(wider));
    std::vector<float> observation(4, 0.1f), bad(4, std::nanf(""));
    std::vector<std::byte> state(controller.state_size());
    const std::array<float, 3> low = {-0.5f, -0.5f, 0}, high = {0.5f, 0.5f, 0};
    const std::array<float, 2> sizes = {4, 1};  // parameters of the reward
    const long before = allocations;
    auto time = std::chrono::nanoseconds(5'000'000'000);
    for (int i = 0; i < 30; ++i) {
      time += std::chrono::milliseconds(30 + 20 * (i % 5));
      const auto begin = SolveBudget::Clock::now();
      const auto deadline = i % 2 == 0 ? no_deadline : begin + std::chrono::microseconds(40 * i);
      const auto& x = i % 7 == 6 ? bad : observation;
      controller.plan({.observation = x, .state_time = time, .deadline = deadline});
      controller.save_state(state);
      controller.load_state(state);
      EXPECT_TRUE(i % 10 != 4 || controller.set_bounds(low, high));
      EXPECT_TRUE(i % 10 != 6 || controller.set_parameters(sizes));
      if (i % 10 == 9) controller.swap(prepared);
    }
    EXPECT_EQ(allocations, before) << threads << " threads";
  }
}

// The nets that a swap leaves are not freed by the planner thread, either.
TEST(Allocation, ARunnerNeitherAllocatesNorFreesUntilItIsOfferedMoreNets) {
  Random random(2);
  const SmallModels nets(random, 4, 3, 3, 16);
  const Bundle bundle = busy_bundle(nets);
  Runner runner(Controller(bundle, &nets.reward));
  Prepared first = runner.prepare(bundle), second = runner.prepare(bundle);
  const std::vector<float> observation(4, 0.1f);
  std::vector<float> action(3);
  Nanoseconds time = std::chrono::seconds(1);
  const auto plans = [&](int count) {
    for (int k = 0; k < count; ++k) {
      time += std::chrono::milliseconds(10);
      runner.submit(observation, time);
      while (runner.command_at(time, action).state_time != time) std::this_thread::yield();
    }
  };
  const long allocated = allocations;
  long freed = frees;
  plans(10);
  EXPECT_TRUE(runner.offer(std::move(first)));
  plans(10);
  EXPECT_EQ(runner.statistics().swaps, 1u);
  EXPECT_EQ(frees, freed);
  EXPECT_TRUE(runner.offer(std::move(second)));
  EXPECT_GT(frees, freed);  // by this thread
  freed = frees;
  plans(10);
  EXPECT_EQ(runner.statistics().swaps, 2u);
  EXPECT_EQ(frees, freed);
  EXPECT_EQ(allocations, allocated);
}

}  // namespace
}  // namespace softmpc
