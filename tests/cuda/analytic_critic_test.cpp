// SPDX-License-Identifier: Apache-2.0
// Own dynamics with a learned terminal value on a device against the CPU's planner with the same
// models, what it promises beside its numbers, and sentences for what cannot be.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "../core/temp_folder.h"
#include "analytic_case.h"
#include "analytic_models.h"
#include "softmpc/error.h"

namespace softmpc::cuda {
namespace {

using softmpc::testing::random_weights;
using softmpc::testing::TestDynamics;
using softmpc::testing::TestReward;
using softmpc::testing::TestValue;
using test::error_of;
using testing::Buffers;
using testing::Case;
using testing::case_count;
using testing::compare;
using testing::device_of;
using testing::inputs_of_a_case;
using testing::on_hardware;
using testing::Random;

bool run_case(std::uint64_t seed) {
  Random random(seed);
  const int nx = random.whole(1, 9), nu = random.whole(1, 9);
  Case c = testing::random_case(random, nx, nu);
  const int width = random.whole(1, 24);
  const int layers = random.whole(1, 2);
  const bool norm = random.coin();
  const NetSpec spec = NetSpec::mlp(nx + nu, width, layers, 1, norm);
  const NetWeights critics = random_weights(random, random.whole(1, 3), spec, 1.5, random.coin());
  c.critics = &critics;
  c.critic = random.whole(0, critics.stack - 1);
  const TestDynamics dynamics(nx, nu, 0.2f);
  const TestReward reward(nx, nu, true);
  const MlpValue value(critics, nx, nu, c.critic);
  c.dynamics = &dynamics, c.reward = &reward, c.value = &value;
  const int problems = random.whole(1, c.shape.max_problems);
  const int processors[] = {1, 8, 132}, shared[] = {8 << 10, 24 << 10, 227 << 10};
  const auto device = device_of(processors[random.whole(0, 2)], shared[random.whole(0, 2)]);
  SCOPED_TRACE("seed " + std::to_string(seed) + ": " +
               softmpc::testing::describe(c.config, c.shape, problems) + ", critic " +
               std::to_string(c.critic) + " of " + std::to_string(critics.stack) + ", width " +
               std::to_string(width) + (norm ? ", LayerNorm" : ""));
  DevicePlanner planner(c.config, c.shape, c.on_device(), {}, device);
  EXPECT_EQ(planner.diagnostics().path, Path::analytic);
  bool compared = false;
  for (int input = 0; input < inputs_of_a_case() && !::testing::Test::HasFailure(); ++input)
    compared = compare(c, c.buffers(problems, random), planner) || compared;
  return compared;
}

TEST(AnalyticCritic, RandomProblemsAgreeWithTheCpuPlanner) {
  const int cases = case_count(60, 20);
  int compared = 0;
  for (int seed = 1; seed <= cases && !HasFailure(); ++seed)
    compared += run_case(static_cast<std::uint64_t>(seed));
  std::printf("seeds 1..%d, %d without a decision within rounding\n", cases, compared);
  EXPECT_GE(compared, cases / 2);
}

void expect(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "'" << text << "'";
  EXPECT_EQ(text.find('\n'), std::string::npos) << text;
}

/// A problem of three states and two actions, with three critics.
class CriticTest : public ::testing::Test {
 protected:
  CriticTest() {
    c.config.rollouts = 70;
    c.config.horizon = 9;
    c.config.temperature = 1;
    c.config.variance = {0.1};
    c.shape = {kNx, kNu, {-1, -1}, {1, 1.5f}, 3};
    c.dynamics = &dynamics, c.reward = &reward, c.value = &value;
    c.critics = &critics;
  }
  Buffers start(int problems) {
    Random inputs(3);
    return c.buffers(problems, inputs);
  }
  DevicePlanner planner(std::shared_ptr<Device> device = device_of()) const {
    return {c.config, c.shape, c.on_device(), {}, std::move(device)};
  }
  Models models(const TerminalValue& with) const { return {&dynamics, &reward, &with}; }
  /// A planner of the core's interface.
  std::unique_ptr<Planner> planner(const Models& from, softmpc::Device device) const {
    DeviceOptions on;
    on.device = device_of();
    return make_planner(c.config, c.shape, from, {.device = device, .cuda = &on});
  }
  /// S of each rollout.
  std::vector<float> costs(DevicePlanner& planner, const Buffers& given) {
    Buffers solved = given;
    PlanTrace trace;
    planner.solve({1, 2}, solved.batch(), &trace);
    return trace.cost;
  }

  static constexpr int kNx = 3, kNu = 2;
  Random random{4};
  NetWeights critics = random_weights(random, 3, NetSpec::mlp({kNx + kNu, 20, 20, 1}), 1.5, true);
  TestDynamics dynamics{kNx, kNu, 0.2f};
  TestReward reward{kNx, kNu, true};
  MlpValue value{critics, kNx, kNu, 0};
  Case c = {};
};

TEST_F(CriticTest, BitsDependNeitherOnTheBatchNorOnTheLayout) {
  testing::expect_bits_of_each_alone(c, start(3));
}

TEST_F(CriticTest, BitsDoNotDependOnTheOrderOfThreads) {
  if (on_hardware()) GTEST_SKIP() << "orders are the emulator's";
  c.config.prior = Prior::uniform;
  testing::expect_bits_in_any_order(c, start(2), 4 << 10);
}

// where all rollouts end at once no critic counts, not even one that is not finite
TEST_F(CriticTest, ARolloutThatEndedHasNoTerminalValue) {
  Buffers given = start(1);
  given.observation = {5, 0, 0};
  const auto with = [&](bool ends, float output_std) {
    c.config.handle_terminations = ends;
    critics.normalisation.output_std = {output_std};
    DevicePlanner p = planner();
    return costs(p, given);
  };
  EXPECT_EQ(with(true, 1), with(true, 7));
  EXPECT_NE(with(false, 1), with(false, 7));
  c.config.handle_terminations = true;
  for (float& bias : critics.bias(2)) bias = 3e38f;  // times 7: infinite
  DevicePlanner p = planner();
  EXPECT_EQ(costs(p, given), with(true, 1));
}

TEST_F(CriticTest, TakesGivenNoise) {
  DevicePlanner p = planner();
  testing::expect_given_noise(c, start(1), random.normals(70u * 10 * kNu, 0.2), p);
}

TEST_F(CriticTest, NewWeightsAreUsed) {
  DevicePlanner p = planner();
  const Buffers given = start(2);
  const std::vector<float> before = costs(p, given);
  const NetWeights first = critics;
  for (float& w : critics.weight(2)) w = -w;
  p.update(DeviceModels{.critics = &critics});
  EXPECT_NE(costs(p, given), before);
  value.update(critics);
  EXPECT_TRUE(compare(c, given, p));
  // by the core's interface, where a value shows its weights
  MlpValue again(first, kNx, kNu, 0);
  const auto through = planner(models(value), softmpc::Device::cuda);
  EXPECT_TRUE(through->device().starts_with("cuda (")) << through->device();
  Buffers solved = given, updated = given, expected = given;
  through->solve({1, 2}, solved.batch());
  through->update(models(again));
  through->solve({1, 2}, updated.batch());
  EXPECT_NE(solved.value, updated.value);
  critics = first;
  planner().solve({1, 2}, expected.batch());
  EXPECT_EQ(updated.plan, expected.plan);
  EXPECT_EQ(updated.value, expected.value);
}

TEST_F(CriticTest, AutomaticIsTheDeviceUnlessItRefusesTheModels) {
  const auto automatic = [&](const Models& from) {
    return planner(from, softmpc::Device::automatic)->device();
  };
  EXPECT_NE(automatic(models(value)), "cpu");
  // a formula beside learned dynamics
  const NetWeights members = random_weights(random, 1, NetSpec::mlp({kNx + kNu, 8, kNx}));
  const MlpDynamics learned(members, kNx, kNu);
  const TestValue formula(kNx, 0.5f);
  const Models reverse = {&learned, &reward, &formula};
  EXPECT_EQ(automatic(reverse), "cpu");
  expect(error_of<Error>([&] { planner(reverse, softmpc::Device::cuda); }),
         "a device takes a formula as terminal value only with formulas as dynamics");
  // a critic that kernels cannot evaluate
  const MlpValue other(random_weights(random, 1, NetSpec::mlp({kNx + kNu, 8, 9, 1})), kNx, kNu);
  EXPECT_EQ(automatic(models(other)), "cpu");
  expect(error_of<Error>([&] { planner(models(other), softmpc::Device::cuda); }), "equally wide");
}

TEST_F(CriticTest, SaysWhatCannotBe) {
  const auto refused = [&](const DeviceModels& m, DeviceOptions options = {}) {
    return error_of<Error>([&] { DevicePlanner(c.config, c.shape, m, options, device_of()); });
  };
  DeviceModels m = c.on_device();
  m.critic = 3;
  expect(refused(m), "there is no critic 3");
  m = c.on_device();
  const NetWeights narrow = random_weights(random, 1, NetSpec::mlp({kNx, 8, 1}));
  m.critics = &narrow;
  expect(refused(m), "critics: inputs and outputs do not fit nx 3, nu 2");
  m = c.on_device();
  m.value = &value;
  expect(refused(m), "one terminal value, a formula or critics");
  expect(refused(c.on_device(), {Path::plain}), "take the path analytic");
  NetWeights broken = critics;
  broken.weight(0)[1] = std::nanf("");
  m = c.on_device();
  m.critics = &broken;
  expect(refused(m), "critics, layer 1: holds a NaN or infinity");

  DevicePlanner p = planner();
  const TestValue formula(kNx, 0.5f);
  const auto update = [&](const DeviceModels& to) {
    return error_of<Error>([&] { p.update(to); });
  };
  expect(update({.critics = &narrow}), "must have the shape");
  expect(update({.value = &formula}), "created with critics");
  expect(update({.members = &narrow}), "created with analytic dynamics");
  m = {.reward = &reward, .dynamics = &dynamics, .value = &formula};
  DevicePlanner by_formula(c.config, c.shape, m, {}, device_of());
  expect(error_of<Error>([&] { by_formula.update(DeviceModels{.critics = &critics}); }),
         "created with an analytic terminal value");
}

// a bundle's precision is that of its members, which own dynamics replace
TEST_F(CriticTest, APrecisionOfMembersChangesNothing) {
  const Buffers given = start(1);
  const auto at = [&](Precision precision) {
    c.config.precision = precision;
    DevicePlanner p = planner();
    return costs(p, given);
  };
  const std::vector<float> exact = at(Precision::float32);
  for (Precision other : {Precision::automatic, Precision::bfloat16, Precision::float16})
    EXPECT_EQ(at(other), exact) << to_string(other);
}

}  // namespace
}  // namespace softmpc::cuda
