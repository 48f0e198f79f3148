// SPDX-License-Identifier: Apache-2.0
// Tests of make_controller: a device's controller is the CPU's within rounding, and `device` means
// what it says.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "analytic_models.h"
#include "core/random_models.h"
#include "softmpc/bundle.h"
#include "softmpc/controller.h"
#include "softmpc/cuda.h"
#include "softmpc/error.h"
#include "test_device.h"

namespace softmpc::cuda {
namespace {

using softmpc::testing::Buffers;
using softmpc::testing::Random;
using softmpc::testing::SmallModels;
using softmpc::testing::TestDynamics;
using testing::test_device;

/// The emulated device, or the machine's.
Controller make_controller(const Bundle& bundle, const RewardModel* reward,
                           ControllerOptions options, std::shared_ptr<Device> device = nullptr) {
  DeviceOptions on;
  on.device = std::move(device);
  options.cuda = &on;
  return Controller(bundle, reward, options);
}

/// One plan of each from x; values agree within `tolerance`, relative where they are large.
void expect_same_tick(Controller& cpu, Controller& device, const std::vector<float>& x,
                      double tolerance) {
  const Plan &expected = cpu.plan(x), &found = device.plan(x);
  EXPECT_EQ(found.status, PlanStatus::ok);
  EXPECT_NEAR(found.value, expected.value, tolerance * (1 + std::abs(expected.value)));
  for (std::size_t i = 0; i < expected.sequence.size(); ++i)
    EXPECT_NEAR(found.sequence[i], expected.sequence[i], 1e-3);
}

class DeviceController : public ::testing::Test {
 protected:
  std::string error_of(const ControllerOptions& options) {
    try {
      make_controller(bundle, &nets.reward, options, test_device());
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  Random random{8};
  SmallModels nets{random, 4, 2, 3, 16};
  Bundle bundle = softmpc::testing::bundle_of(nets);
};

TEST_F(DeviceController, AgreesWithTheCpuFromTickToTick) {
  Controller cpu(bundle, &nets.reward, {.seed = 3});
  Controller device = make_controller(bundle, &nets.reward,
                                      {.seed = 3, .device = softmpc::Device::cuda}, test_device());
  EXPECT_EQ(cpu.device(), "cpu");
  EXPECT_TRUE(device.device().starts_with("cuda (")) << device.device();
  std::vector<float> x(static_cast<std::size_t>(bundle.nx), 0.1f);
  for (int tick = 0; tick < 4; ++tick) {
    if (tick == 2) cpu.reset(), device.reset();
    SCOPED_TRACE("tick " + std::to_string(tick));
    expect_same_tick(cpu, device, x, 1e-3);
    x[0] += 0.05f;
  }
  x[0] = NAN;
  EXPECT_EQ(device.plan(x).status, PlanStatus::bad_state);
  x[0] = 0;
  EXPECT_EQ(device.plan(x).status, PlanStatus::ok);
}

TEST_F(DeviceController, PlansWithProposalsAsTheCpuDoes) {
  bundle.planner.proposals = Proposals::plan_and_policy;
  bundle.policy = nets.policy_weights;
  Controller cpu(bundle, &nets.reward, {.seed = 3});
  Controller device = make_controller(bundle, &nets.reward,
                                      {.seed = 3, .device = softmpc::Device::cuda}, test_device());
  std::vector<float> x(static_cast<std::size_t>(bundle.nx), 0.1f);
  for (int tick = 0; tick < 4; ++tick) {
    SCOPED_TRACE("tick " + std::to_string(tick));
    expect_same_tick(cpu, device, x, 1e-3);
    x[0] += 0.05f;
  }
}

TEST_F(DeviceController, FollowsBoundsAndParameters) {
  bundle.policy = nets.policy_weights;
  for (const Prior prior : {Prior::gaussian, Prior::uniform})
    for (const Proposals proposals : {Proposals::plan, Proposals::plan_and_policy}) {
      bundle.planner.prior = prior;
      bundle.planner.proposals = proposals;
      const std::string name = "prior " + std::to_string(static_cast<int>(prior)) + " proposals " +
                               std::to_string(static_cast<int>(proposals));
      Controller cpu(bundle, &nets.reward, {.seed = 3});
      Controller device = make_controller(
          bundle, &nets.reward, {.seed = 3, .device = softmpc::Device::cuda}, test_device());
      std::vector<float> x(static_cast<std::size_t>(bundle.nx), 0.1f);
      const std::vector<float> low = {-0.5f, 0.25f}, high = {0.125f, 0.25f}, sizes = {4, 1};
      for (int tick = 0; tick < 5; ++tick) {
        SCOPED_TRACE(name + " tick " + std::to_string(tick));
        for (Controller* c : {&cpu, &device}) {
          EXPECT_TRUE(tick != 1 || c->set_bounds(low, high));
          EXPECT_TRUE(tick != 2 || c->set_parameters(sizes));  // the second action costs nothing
          EXPECT_TRUE(tick != 3 || c->set_bounds(bundle.action_low, bundle.action_high));
          if (tick == 4) c->reset();
        }
        expect_same_tick(cpu, device, x, 1e-3);
        x[0] += 0.05f;
      }
      EXPECT_FALSE(device.set_parameters(std::vector<float>{1}));
    }
}

TEST_F(DeviceController, DiagnosticsSeeThroughProposals) {
  const MlpDynamics dynamics(bundle.members, bundle.nx, bundle.nu, {});
  const MlpValue value(bundle.critics, bundle.nx, bundle.nu, 0);
  const MlpPolicy policy(nets.policy_weights, bundle.action_low, bundle.action_high);
  const Models models = {&dynamics, &nets.reward, &value, &policy};
  PlannerConfig config = bundle.planner;
  config.proposals = Proposals::plan_and_policy;
  DeviceOptions on;
  on.device = test_device();
  const auto device =
      make_planner(config, nets.shape(1), models, {softmpc::Device::cuda, nullptr, &on});
  Buffers one(1, bundle.nx, bundle.nu, config.horizon);
  device->solve({1, 1}, one.batch());
  EXPECT_NE(diagnostics(*device).path, Path::automatic);
  EXPECT_GT(diagnostics(*device).blocks, 0);
  EXPECT_GT(device_seconds(*device, 1), 0);
  const auto cpu = make_planner(config, nets.shape(1), models);
  EXPECT_THROW(diagnostics(*cpu), Error);
}

// the robot engineer's main case: dynamics by a formula, in place of the bundle's members, and the
// bundle's critic
TEST_F(DeviceController, TakesOwnDynamicsWithTheBundlesCritic) {
  const TestDynamics dynamics(bundle.nx, bundle.nu, 0.2f);
  bundle.policy = nets.policy_weights;             // which plans of this control mode do not ask
  bundle.planner.precision = Precision::bfloat16;  // of the members
  ControllerOptions options = {.seed = 3, .dynamics = &dynamics};
  Controller cpu(bundle, &nets.reward, options);
  options.device = softmpc::Device::automatic;
  Controller device = make_controller(bundle, &nets.reward, options, test_device());
  EXPECT_TRUE(device.device().starts_with("cuda (")) << device.device();
  std::vector<float> x(static_cast<std::size_t>(bundle.nx), 0.1f);
  for (int tick = 0; tick < 4; ++tick) {
    SCOPED_TRACE("tick " + std::to_string(tick));
    expect_same_tick(cpu, device, x, 1e-4);
    x[0] += 0.05f;
  }
  // a policy that plans do ask is a network, which a device evaluates beside networks alone
  bundle.planner.control_mode = ControlMode::policy_residual;
  EXPECT_EQ(make_controller(bundle, &nets.reward, options, test_device()).device(), "cpu");
}

TEST_F(DeviceController, AutomaticIsADeviceWhereThereIsOne) {
  constexpr auto kAuto = softmpc::Device::automatic;
  EXPECT_EQ(make_controller(bundle, &nets.reward, {}).device(), "cpu");
  EXPECT_EQ(make_controller(bundle, &nets.reward, {.device = kAuto}).device() == "cpu",
            !unavailable().empty());
  EXPECT_NE(make_controller(bundle, &nets.reward, {.device = kAuto}, test_device()).device(),
            "cpu");
  if (!unavailable().empty()) {
    EXPECT_THROW(make_controller(bundle, &nets.reward, {.device = softmpc::Device::cuda}), Error);
  }
}

}  // namespace
}  // namespace softmpc::cuda
