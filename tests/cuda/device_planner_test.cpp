// SPDX-License-Identifier: Apache-2.0
// What every path of the device promises beside its numbers: bits that do not depend on the batch,
// the order of threads or an earlier solve; statuses; sentences for what cannot be.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "../core/random_models.h"
#include "plan/device_planner.h"
#include "softmpc/error.h"
#include "test_device.h"

namespace softmpc::cuda {
namespace {

using softmpc::testing::Buffers;
using softmpc::testing::Random;
using softmpc::testing::SmallModels;
using testing::on_hardware;
using testing::test_device;

struct PathCase {
  const char* name;
  Path path;
  Precision precision;
  int width, processors;
  bool layer_norm = false;
};

/// `spec` with LayerNorm of its hidden layers.
NetSpec with_layer_norm(NetSpec spec) {
  for (int l = 0; l + 1 < spec.depth(); ++l) spec.layers[l].normalise = true;
  return spec;
}

class DevicePath : public ::testing::TestWithParam<PathCase> {
 protected:
  static constexpr int kProblems = 5;

  DevicePath() {
    config.rollouts = 20;
    config.horizon = 2;
    config.precision = GetParam().precision;
    if (!GetParam().layer_norm) return;
    for (NetWeights* w : {&nets.member_weights, &nets.critic_weights, &nets.policy_weights})
      *w = random_weights(random, w->stack, with_layer_norm(w->spec));
  }
  DeviceModels models() const {
    return {&nets.member_weights, {}, &nets.critic_weights, 0, &nets.policy_weights, &nets.reward};
  }
  DevicePlanner planner(int problems, emulator::RunOptions run = {}) {
    return {config,
            nets.shape(problems),
            models(),
            {GetParam().path},
            test_device(90, GetParam().processors, run)};
  }
  Buffers buffers(int problems) {
    Random inputs(11);
    Buffers b(problems, nets.nx, nets.nu, config.horizon);
    b.observation = inputs.normals(b.observation.size(), 0.5);
    b.plan = inputs.normals(b.plan.size(), 0.3);
    return b;
  }

  Random random{5};
  SmallModels nets{random, 5, 3, 3, GetParam().width};
  PlannerConfig config;
};

TEST_P(DevicePath, BitsDoNotDependOnTheBatch) {
  DevicePlanner p = planner(kProblems);
  Buffers all = buffers(kProblems), given = all;
  p.solve({3, 9}, all.batch());
  const std::size_t plan = all.plan.size() / kProblems;
  for (int b = 0; b < kProblems; ++b) {
    Buffers one(1, nets.nx, nets.nu, config.horizon);
    one.id = {static_cast<std::uint32_t>(b)};
    std::copy_n(given.observation.begin() + b * nets.nx, nets.nx, one.observation.begin());
    std::copy_n(given.plan.begin() + static_cast<std::ptrdiff_t>(b * plan), plan, one.plan.begin());
    p.solve({3, 9}, one.batch());
    EXPECT_EQ(one.value[0], all.value[b]) << "problem " << b;
    for (std::size_t i = 0; i < plan; ++i) EXPECT_EQ(one.plan[i], all.plan[b * plan + i]);
  }
}

TEST_P(DevicePath, BitsDoNotDependOnTheOrderOfThreads) {
  Buffers first = buffers(2);
  const Buffers given = first;
  planner(2).solve({3, 9}, first.batch());
  if (on_hardware()) {  // the machine's own order, twice
    Buffers again = given;
    planner(2).solve({3, 9}, again.batch());
    EXPECT_EQ(again.plan, first.plan);
    return;
  }
  for (const emulator::RunOptions& run : emulator::all_orders(1)) {
    Buffers other = given;
    planner(2, run).solve({3, 9}, other.batch());
    EXPECT_EQ(other.plan, first.plan) << to_string(run);
    EXPECT_EQ(other.value, first.value) << to_string(run);
    EXPECT_EQ(other.action, first.action) << to_string(run);
  }
}

TEST_P(DevicePath, ABadStateLeavesItsPlanAndTheOthersAlone) {
  DevicePlanner p = planner(3);
  Buffers clean = buffers(3), dirty = clean;
  const std::vector<float> before = dirty.plan;
  dirty.observation[nets.nx + 1] = std::nanf("");
  p.solve({1, 1}, clean.batch());
  p.solve({1, 1}, dirty.batch());
  const std::size_t plan = dirty.plan.size() / 3;
  EXPECT_EQ(dirty.status[1], PlanStatus::bad_state);
  EXPECT_TRUE(std::isnan(dirty.value[1]));
  EXPECT_EQ(dirty.valid_share[1], 0);
  EXPECT_EQ(dirty.effective_samples[1], 0);
  for (std::size_t i = 0; i < plan; ++i) EXPECT_EQ(dirty.plan[plan + i], before[plan + i]);
  for (std::size_t b : {0u, 2u}) {
    EXPECT_EQ(dirty.status[b], PlanStatus::ok);
    EXPECT_EQ(dirty.value[b], clean.value[b]);
    for (std::size_t i = 0; i < plan; ++i)
      EXPECT_EQ(dirty.plan[b * plan + i], clean.plan[b * plan + i]);
  }
}

TEST_P(DevicePath, NothingFiniteLeavesThePlan) {
  // the sum of huge outputs is beyond float32 from the second step on
  nets.member_weights.normalisation.output_std.assign(
      nets.member_weights.normalisation.output_std.size(), 3e38f);
  DevicePlanner p = planner(1);
  Buffers b = buffers(1);
  const std::vector<float> before = b.plan;
  p.solve({1, 1}, b.batch());
  EXPECT_EQ(b.status[0], PlanStatus::not_finite);
  EXPECT_TRUE(std::isnan(b.value[0]));
  EXPECT_EQ(b.plan, before);
  for (float a : b.action) EXPECT_TRUE(std::isfinite(a));
}

TEST_P(DevicePath, AllInvalidCountsAllRollouts) {
  config.prior = Prior::uniform;
  DevicePlanner p = planner(1);
  Buffers b = buffers(1);
  b.plan[0] = 30;  // far outside the box
  p.solve({1, 1}, b.batch());
  EXPECT_EQ(b.status[0], PlanStatus::all_invalid);
  EXPECT_EQ(b.valid_share[0], 0);
  EXPECT_GE(b.effective_samples[0], 1);
  EXPECT_TRUE(std::isfinite(b.value[0]));
}

TEST_P(DevicePath, NewWeightsAreUsed) {
  DevicePlanner p = planner(1);
  Buffers first = buffers(1), second = first, third = first;
  p.solve({1, 1}, first.batch());
  const NetWeights before = nets.critic_weights;
  for (float& w : nets.critic_weights.weight(1)) w = -w;
  p.update(models());
  p.solve({1, 1}, second.batch());
  EXPECT_NE(first.value, second.value);
  nets.critic_weights = before;
  p.update(models());
  p.solve({1, 1}, third.batch());
  EXPECT_EQ(first.value, third.value);
  EXPECT_EQ(first.plan, third.plan);
}

TEST_P(DevicePath, AFarDeadlineChangesNoBitAndAPastOneLeavesThePlan) {
  using Clock = SolveBudget::Clock;
  DevicePlanner p = planner(2);
  Buffers whole = buffers(2), far = whole, past = whole;
  p.solve({1, 1}, whole.batch());
  SolveDone done;
  PlanBatch batch = far.batch();
  batch.done = &done;
  batch.budget = {.deadline = Clock::now() + std::chrono::hours(1)};
  p.solve({1, 1}, batch);
  EXPECT_EQ(done, (SolveDone{1, 20}));
  EXPECT_EQ(far.plan, whole.plan);
  EXPECT_EQ(far.action, whole.action);
  EXPECT_EQ(far.value, whole.value);
  EXPECT_EQ(far.status, whole.status);

  const std::vector<float> before = past.plan;
  batch = past.batch();
  batch.done = &done;
  batch.budget = {.deadline = Clock::now()};
  p.solve({1, 1}, batch);
  EXPECT_EQ(done, SolveDone{});
  EXPECT_EQ(past.plan, before);
  for (std::size_t b = 0; b < 2; ++b) {
    EXPECT_EQ(past.status[b], PlanStatus::no_time);
    EXPECT_TRUE(std::isnan(past.value[b]));
    EXPECT_EQ(past.valid_share[b], 0);
    EXPECT_EQ(past.effective_samples[b], 0);
    for (std::size_t i = 0; i < 3; ++i)  // n is 0, and u lies in the box
      EXPECT_EQ(past.action[3 * b + i],
                std::clamp(before[before.size() / 2 * b + i], nets.low[i], nets.high[i]));
  }
}

TEST_P(DevicePath, SaysWhatRan) {
  DevicePlanner p = planner(kProblems);
  Buffers b = buffers(kProblems);
  p.solve({1, 1}, b.batch());
  const DeviceDiagnostics d = p.diagnostics();
  EXPECT_EQ(d.path, GetParam().path);
  EXPECT_FALSE(d.why.empty());
  EXPECT_GT(d.blocks, 0);
  EXPECT_GT(d.shared_bytes, 0);
}

INSTANTIATE_TEST_SUITE_P(
    Paths, DevicePath,
    ::testing::Values(PathCase{"plain", Path::plain, Precision::float32, 24, 0},
                      PathCase{"plain_norm", Path::plain, Precision::float32, 21, 0, true},
                      PathCase{"tile16_norm", Path::tile, Precision::float16, 40, 0, true},
                      PathCase{"tile64_norm", Path::tile, Precision::float16, 64, 1, true},
                      PathCase{"tile16", Path::tile, Precision::float16, 40, 0},
                      PathCase{"tile64", Path::tile, Precision::float16, 40, 1},
                      PathCase{"cluster", Path::cluster, Precision::float16, 256, 0},
                      PathCase{"wgmma", Path::wgmma, Precision::float16, 100, 0}),
    [](const auto& each) { return std::string(each.param.name); });

/// Of one problem of a small planner.
struct DeviceDeadline : ::testing::Test {
  using Clock = SolveBudget::Clock;
  Random random{5};
  SmallModels nets{random, 5, 3, 3, 24};
  PlannerConfig config;
  DeviceDeadline() {
    config.rollouts = 20;
    config.horizon = 2;
    config.iterations = 2;
  }
  DevicePlanner planner() {
    return {config,
            nets.shape(1),
            {&nets.member_weights, {}, &nets.critic_weights, 0, nullptr, &nets.reward},
            {},
            test_device()};
  }
  PlanStatus solve(Planner& p, const SolveBudget& budget) {
    Buffers b(1, nets.nx, nets.nu, config.horizon);
    PlanBatch batch = b.batch();
    batch.budget = budget;
    p.solve({1, 1}, batch);
    return b.status[0];
  }
};

// As slow as the slowest of late it would be late; what it expects it forgets.
TEST_F(DeviceDeadline, ASolveThatWouldBeLateDoesNotBegin) {
  DevicePlanner p = planner();
  const auto far = [] { return Clock::now() + std::chrono::hours(1); };
  solve(p, {.deadline = far()});  // records its launches
  auto shortest = Clock::duration::max();
  for (int i = 0; i < 3; ++i) {
    const Clock::time_point begin = Clock::now();
    EXPECT_EQ(solve(p, {.deadline = far()}), PlanStatus::ok);
    shortest = std::min(shortest, Clock::now() - begin);
  }
  int refused = 0;
  while (refused < 1000 &&
         solve(p, {.deadline = Clock::now() + shortest / 2}) == PlanStatus::no_time)
    ++refused;
  EXPECT_GT(refused, 90);
  EXPECT_LT(refused, 1000);
}

TEST_F(DeviceDeadline, PartsOfSolvesAreRefused) {
  DevicePlanner p = planner();
  EXPECT_EQ(solve(p, {.iterations = 2, .rollouts = 20}), PlanStatus::ok);
  for (const SolveBudget& part :
       {SolveBudget{.iterations = 1}, SolveBudget{.iterations = 2, .rollouts = 10}})
    try {
      solve(p, part);
      FAIL() << "a part was solved";
    } catch (const Error& error) {
      EXPECT_STREQ(error.what(),
                   "planner solve: a device computes whole solves; budget has limits of one");
    }
}

// the same planner takes another path where its critic has no LayerNorm
TEST(DevicePaths, LayerNormTakesOneThatCanAndSaysSo) {
  Random random(5);
  SmallModels nets(random, 5, 3, 3, 256);
  PlannerConfig config;
  config.precision = Precision::float16;
  const auto diagnostics = [&](const NetWeights& critics) {
    return DevicePlanner(config, nets.shape(2),
                         {&nets.member_weights, {}, &critics, 0, nullptr, &nets.reward}, {},
                         test_device(90))
        .diagnostics();
  };
  EXPECT_EQ(diagnostics(nets.critic_weights).path, Path::cluster);
  const auto spec = with_layer_norm(nets.critic_weights.spec);
  const DeviceDiagnostics d = diagnostics(random_weights(random, 1, spec));
  EXPECT_EQ(d.path, Path::tile);
  EXPECT_NE(d.why.find("the 16-bit path with LayerNorm"), std::string::npos) << d.why;
}

/// What creating or updating a planner says.
struct Refused : ::testing::Test {
  Random random{5};
  SmallModels nets{random, 5, 3, 3, 40};
  PlannerConfig config;
  DeviceOptions options;
  int capability = 90;

  DeviceModels models() const {
    return {&nets.member_weights, {}, &nets.critic_weights, 0, &nets.policy_weights, &nets.reward};
  }
  std::string sentence() {
    try {
      DevicePlanner planner(config, nets.shape(2), models(), options, test_device(capability));
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
  void expect(const std::string& part) {
    const std::string text = sentence();
    EXPECT_NE(text.find(part), std::string::npos) << "'" << text << "'";
    EXPECT_EQ(text.find('\n'), std::string::npos);
  }
};

TEST_F(Refused, BadWeights) {
  config.precision = Precision::float16;
  nets.member_weights.weight(1)[7] = 1e5f;
  expect("65504");
  nets.member_weights.weight(1)[7] = std::nanf("");
  expect("members, layer 2: holds a NaN or infinity");
}

TEST_F(Refused, WhatAPathCannotDo) {
  config.precision = Precision::float16;
  options.path = Path::cluster;
  expect("path cluster cannot run here: hidden layers of 64 padded units");
  config.member_draw = MemberDraw::per_rollout_step;
  options.path = Path::wgmma;
  expect("member_draw must be per_step");
  config.precision = Precision::float32;
  options.path = Path::tile;
  expect("planner.precision float32 takes the path plain");
  config.precision = Precision::float16;
  options.path = Path::plain;
  expect("set planner.precision to float32");
}

TEST_F(Refused, LayerNormOnOtherPaths) {
  nets.critic_weights = random_weights(random, 1, NetSpec::mlp({8, 40, 40, 1}, true));
  config.precision = Precision::float16;
  options.path = Path::cluster;
  expect("path cluster cannot run here: a net has LayerNorm");
  options.path = Path::wgmma;
  expect("path wgmma cannot run here: a net has LayerNorm");
}

TEST_F(Refused, OlderDevices) {
  if (on_hardware()) GTEST_SKIP() << "the emulator's device is the older one";
  capability = 80;
  config.precision = Precision::float16;
  options.path = Path::wgmma;
  expect("has compute capability 80");
}

TEST_F(Refused, WideNetworks) {
  SmallModels wide(random, 5, 3, 2, 700);
  const DeviceModels given = {&wide.member_weights, {}, &wide.critic_weights, 0, nullptr,
                              &wide.reward};
  config.precision = Precision::float16;
  try {
    DevicePlanner planner(config, wide.shape(1), given, {}, test_device());
    FAIL() << "700 units are too wide";
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("width 700 is beyond 512"), std::string::npos);
  }
}

TEST_F(Refused, LeavesTheDeviceUsable) {
  auto device = test_device();
  config.rollouts = 4;
  config.horizon = 1;
  config.precision = Precision::float16;
  const NetWeights good = nets.member_weights;
  nets.member_weights.weight(0)[0] = std::nanf("");
  EXPECT_THROW(DevicePlanner(config, nets.shape(1), models(), {}, device), Error);
  nets.member_weights = good;
  DevicePlanner planner(config, nets.shape(1), models(), {}, device);
  Buffers b(1, nets.nx, nets.nu, config.horizon);
  planner.solve({1, 1}, b.batch());
  EXPECT_EQ(b.status[0], PlanStatus::ok);
}

}  // namespace
}  // namespace softmpc::cuda
