// SPDX-License-Identifier: Apache-2.0
// Tests controller.h: warm start, reset, repeatability, and what bad observations do.
#include "softmpc/controller.h"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "control/controllers.h"
#include "softmpc/error.h"

namespace softmpc {
namespace {

using testing::Random;

struct ControllerTest : testing::SmallController {
  /// Everything that `ticks` plans gave, in order.
  std::vector<double> play(Controller& controller, int ticks) const {
    std::vector<double> out;
    for (int tick = 0; tick < ticks; ++tick) {
      const auto numbers = SmallController::numbers(controller.plan(observation(tick)));
      out.insert(out.end(), numbers.begin(), numbers.end());
    }
    return out;
  }
};

TEST_F(ControllerTest, RepeatsItselfForAnyNumberOfThreads) {
  Controller one(bundle, &nets.reward, {5, 1}), two(bundle, &nets.reward, {5, 2});
  Controller other(bundle, &nets.reward, {6, 1});
  const auto expected = play(one, 10);
  EXPECT_EQ(play(two, 10), expected);
  EXPECT_NE(play(other, 10), expected);
}

// Tick by tick the same as draw, shift and solve by hand.
TEST_F(ControllerTest, IsTheWarmStartedPlanner) {
  Controller controller(bundle, &nets.reward, {5, 1});
  const PlannerConfig& config = bundle.planner;
  const auto planner = make_planner(config, nets.shape(1), nets.models());
  testing::Buffers b(1, nets.nx, nets.nu, config.horizon);
  planner->draw({5, 0}, kEpisodePlan, b.plan);
  for (int tick = 0; tick < 5; ++tick) {
    planner->shift(b.plan);
    b.observation = observation(tick);
    planner->solve({5, static_cast<std::uint32_t>(tick)}, b.batch());
    const Plan& plan = controller.plan(observation(tick));
    EXPECT_EQ(plan.status, PlanStatus::ok);
    EXPECT_EQ(plan.value, b.value[0]);
    EXPECT_EQ(std::vector<float>(plan.sequence.begin(), plan.sequence.end()), b.plan);
    EXPECT_EQ(std::vector<float>(plan.action.begin(), plan.action.end()), b.action);
    EXPECT_GE(plan.effective_samples, 1);
    EXPECT_EQ(plan.valid_share, 1);
  }
}

TEST_F(ControllerTest, ABadObservationIsAStatusAndTheControllerRecovers) {
  Controller controller(bundle, &nets.reward);
  const Plan& before = controller.plan(observation(0));
  std::vector<float> shifted(before.sequence.begin(), before.sequence.end());
  for (float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    shifted.erase(shifted.begin(), shifted.begin() + 2);
    shifted.insert(shifted.end(), {0.0f, 0.0f});
    std::vector<float> x = observation(1);
    x[2] = bad;
    const Plan& plan = controller.plan(x);
    EXPECT_EQ(plan.status, PlanStatus::bad_state);
    EXPECT_TRUE(std::isnan(plan.value));
    EXPECT_EQ(std::vector<float>(plan.sequence.begin(), plan.sequence.end()), shifted);
    for (std::size_t i = 0; i < 2; ++i)
      EXPECT_EQ(plan.action[i], std::min(std::max(shifted[i], -1.0f), 1.5f));
  }
  const Plan& after = controller.plan(observation(3));
  EXPECT_EQ(after.status, PlanStatus::ok);
  EXPECT_TRUE(std::isfinite(after.value));
  for (float u : after.sequence) EXPECT_TRUE(std::isfinite(u));
}

TEST_F(ControllerTest, AStateOfTheWrongSizeIsRefusedWithBothSizes) {
  Controller controller(bundle, &nets.reward);
  for (std::size_t size : {0u, 3u, 5u}) {
    try {
      controller.plan(std::vector<float>(size));
      ADD_FAILURE() << "a state of " << size << " was taken";
    } catch (const Error& error) {
      const std::string text = error.what();
      EXPECT_NE(text.find(std::to_string(size)), std::string::npos) << text;
      EXPECT_NE(text.find("4"), std::string::npos) << text;
    }
  }
  EXPECT_EQ(controller.plan(observation(0)).status, PlanStatus::ok);
}

TEST_F(ControllerTest, ResetForgetsThePlanAndDrawsAnother) {
  Controller controller(bundle, &nets.reward, {5, 1}), twin(bundle, &nets.reward, {5, 1});
  const auto first = play(controller, 3);
  controller.reset();
  const auto second = play(controller, 3);
  EXPECT_NE(first, second);
  play(twin, 3);
  twin.reset();
  EXPECT_EQ(play(twin, 3), second);
}

TEST_F(ControllerTest, ABundleThatDoesNotFitItselfIsRefused) {
  Bundle bad = bundle;
  bad.nx = 5;
  EXPECT_THROW(Controller(bad, &nets.reward), Error);
  bad = bundle;
  bad.action_low.pop_back();
  EXPECT_THROW(Controller(bad, &nets.reward), Error);
  bad = bundle;  // a policy for another state
  bad.policy = testing::random_weights(random, 1, NetSpec::mlp({7, 8, 2}));
  EXPECT_THROW(Controller(bad, &nets.reward), Error);
  bad = bundle;  // found when created, not in the control loop
  bad.planner.control_mode = ControlMode::policy_residual;
  EXPECT_THROW(Controller(bad, &nets.reward), Error);
  bad = bundle;
  EXPECT_THROW(Controller(bad, nullptr), Error);
  bad.planner.handle_terminations = true;
  EXPECT_THROW(Controller(bad, &nets.reward), Error);
}

// What training with model.source=environment writes: no members, planned with dynamics given.
TEST_F(ControllerTest, ABundleWithoutMembersNeedsOwnDynamics) {
  Controller learned(bundle, &nets.reward, {5, 1});
  bundle.members = {};
  Controller own(bundle, &nets.reward, {.seed = 5, .dynamics = &nets.dynamics});
  EXPECT_EQ(play(own, 4), play(learned, 4));
  try {
    Controller(bundle, &nets.reward);
    FAIL() << "accepted without dynamics";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("no members"), std::string::npos) << error.what();
  }
}

// A device plans with the weights that the models show.
TEST(ReadNetwork, GivesTheWeightsOfANet) {
  Random random(4);
  const NetWeights w = testing::random_weights(random, 3, NetSpec::mlp({6, 9, 1}), 1, true);
  NetWeights read;
  ASSERT_TRUE(MlpValue(w, 4, 2, 1).read_network(read));
  EXPECT_EQ(read.stack, 1);
  EXPECT_EQ(read.normalisation, w.normalisation);
  for (int l = 0; l < w.layers(); ++l)
    for (std::size_t i = 0; i < read.weight(l).size(); ++i)
      ASSERT_EQ(read.weight(l)[i], w.weight(l)[read.weight(l).size() + i]);
  const NetWeights members = testing::random_weights(random, 3, NetSpec::mlp({6, 9, 4}), 1, true);
  ASSERT_TRUE(MlpDynamics(members, 4, 2).read_network(read));
  EXPECT_EQ(read.parameters, members.parameters);
  EXPECT_EQ(read.normalisation, members.normalisation);
  // a policy's output scale joins its last layer: the same actions, not the same numbers
  const NetWeights policy = testing::random_weights(random, 1, NetSpec::mlp({4, 9, 2}), 1, true);
  const std::vector<float> low = {-1, -2}, high = {1, 2};
  const MlpPolicy given(policy, low, high);
  ASSERT_TRUE(given.read_network(read));
  const MlpPolicy again(read, low, high);
  std::vector<float> x = random.normals(4 * 64), a(2 * 64), b(2 * 64);
  alignas(64) static char scratch[1 << 16];
  ASSERT_LE(given.scratch_bytes(64), sizeof scratch);
  given.evaluate({x.data(), 64}, 64, {a.data(), 64}, scratch);
  again.evaluate({x.data(), 64}, 64, {b.data(), 64}, scratch);
  EXPECT_EQ(a, b);
}

TEST(Device, IsReadByName) {
  for (const Device d : {Device::cpu, Device::cuda, Device::automatic})
    EXPECT_EQ(parse_device(to_string(d), "--device"), d);
  try {
    parse_device("gpu", "--device");
    FAIL() << "accepted";
  } catch (const UsageError& error) {
    EXPECT_STREQ(error.what(), "--device: 'gpu' must be one of cpu, cuda, auto");
  }
}

}  // namespace
}  // namespace softmpc
