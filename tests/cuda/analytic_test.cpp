// SPDX-License-Identifier: Apache-2.0
// Planning with analytic models on a device against the CPU's planner with the same models, what it
// promises beside its numbers, and sentences for what cannot be.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "analytic_case.h"
#include "analytic_models.h"
#include "diff_drive/diff_drive.h"
#include "plan/dispatch.h"
#include "softmpc/error.h"

namespace softmpc::cuda {
namespace {

using softmpc::testing::TestDynamics;
using softmpc::testing::TestReward;
using softmpc::testing::TestValue;
using tasks::DiffDrive;
using testing::Buffers;
using testing::Case;
using testing::case_count;
using testing::compare;
using testing::device_of;
using testing::expect_near;
using testing::inputs_of_a_case;
using testing::on_hardware;
using testing::Random;
using testing::random_case;

bool run_case(std::uint64_t seed) {
  Random random(seed);
  const int nx = random.whole(1, 9), nu = random.whole(1, 9);
  Case c = random_case(random, nx, nu);
  const TestDynamics dynamics(nx, nu, 0.2f);
  const TestReward reward(nx, nu, true);
  const TestValue value(nx, 0.5f);
  c.dynamics = &dynamics, c.reward = &reward, c.value = &value;
  const int problems = random.whole(1, c.shape.max_problems);
  const int processors[] = {1, 8, 132}, shared[] = {8 << 10, 24 << 10, 227 << 10};
  const auto device = device_of(processors[random.whole(0, 2)], shared[random.whole(0, 2)]);
  SCOPED_TRACE("seed " + std::to_string(seed) + ": " +
               softmpc::testing::describe(c.config, c.shape, problems));
  DevicePlanner planner(c.config, c.shape, c.on_device(), {}, device);
  EXPECT_EQ(planner.diagnostics().path, Path::analytic);
  bool compared = false;
  for (int input = 0; input < inputs_of_a_case() && !::testing::Test::HasFailure(); ++input)
    compared = compare(c, c.buffers(problems, random), planner) || compared;
  return compared;
}

TEST(Analytic, RandomProblemsAgreeWithTheCpuPlanner) {
  const int cases = case_count(60, 20);
  int compared = 0;
  for (int seed = 1; seed <= cases && !HasFailure(); ++seed)
    compared += run_case(static_cast<std::uint64_t>(seed));
  std::printf("seeds 1..%d, %d without a decision within rounding\n", cases, compared);
  EXPECT_GE(compared, cases / 2);
}

class DriveTest : public ::testing::Test {
 protected:
  Case drive(int rollouts, int problems) {
    Case c{{},
           {DiffDrive::nx,
            DiffDrive::nu,
            {DiffDrive::min_speed, -DiffDrive::max_turn},
            {DiffDrive::max_speed, DiffDrive::max_turn},
            problems},
           &dynamics,
           &reward,
           &value};
    c.config.rollouts = rollouts;
    c.config.horizon = 100;
    c.config.temperature = 1;
    c.config.variance = {0.04, 0.16};
    c.config.gamma = 1;
    return c;
  }
  Buffers start(const Case& c, int problems) {
    Random random(3);
    Buffers b = c.buffers(problems, random);
    for (float& u : b.plan) u *= 0.5f;
    for (float& x : b.observation) x *= 6;
    return b;
  }

  std::vector<float> cells;
  tasks::Costmap map = tasks::diff_drive_room(cells);
  tasks::DiffDriveDynamics dynamics;
  tasks::DiffDriveReward reward{map, 4, 4};
  tasks::DiffDriveValue value{4, 4};
};

TEST_F(DriveTest, AgreesWithTheCpuPlanner) {
  for (const auto& [rollouts, processors] : {std::pair{128, 132}, {1000, 8}, {600, 1}}) {
    SCOPED_TRACE(rollouts);
    const Case c = drive(rollouts, 1);
    DevicePlanner planner(c.config, c.shape, c.on_device(), {}, device_of(processors));
    EXPECT_TRUE(compare(c, start(c, 1), planner));
    std::printf("%s\n", planner.diagnostics().why.c_str());
  }
}

// several blocks weigh the rollouts of a problem, and the last sums up
TEST_F(DriveTest, AgreesWithManyRollouts) {
  Case c = drive(4500, 2);
  c.config.horizon = 6;
  c.config.temperature = 0.05;
  Buffers given = start(c, 2);
  {
    c.config.iterations = 2;
    DevicePlanner planner(c.config, c.shape, c.on_device(), {}, device_of());
    EXPECT_TRUE(compare(c, given, planner));
  }
  c.config.iterations = 1;
  c.config.prior = Prior::uniform;
  DevicePlanner planner(c.config, c.shape, c.on_device(), {}, device_of());
  const auto in_box = [&](float u) {
    given.plan[0] = u;
    EXPECT_TRUE(compare(c, given, planner)) << u;
    Buffers solved = given;
    planner.solve({77, 5}, solved.batch());
    return solved.valid_share[0] * c.config.rollouts;
  };
  EXPECT_GT(in_box(0), 100);
  EXPECT_EQ(in_box(30), 0);
  // so few that not each of the three segments has one
  const double few = in_box(1.15f);
  EXPECT_GT(few, 0.5);
  EXPECT_LT(few, 2.5);
}

TEST_F(DriveTest, SegmentsAlone) {
  Case c = drive(4500, 2);
  c.config.horizon = 3;
  Buffers both = start(c, 2);
  const Buffers given = both;
  DevicePlanner(c.config, c.shape, c.on_device(), {}, device_of()).solve({1, 2}, both.batch());
  for (const emulator::RunOptions& run : emulator::all_orders(1)) {
    Buffers one(1, DiffDrive::nx, DiffDrive::nu, c.config.horizon);
    one.id = {given.id[1]};
    std::copy(given.observation.begin() + DiffDrive::nx, given.observation.end(),
              one.observation.begin());
    std::copy(given.plan.begin() + 8, given.plan.end(), one.plan.begin());
    DevicePlanner(c.config, c.shape, c.on_device(), {}, device_of(132, 227 << 10, run))
        .solve({1, 2}, one.batch());
    EXPECT_EQ(one.value[0], both.value[1]) << to_string(run);
    EXPECT_EQ(one.effective_samples[0], both.effective_samples[1]);
    EXPECT_TRUE(std::equal(one.plan.begin(), one.plan.end(), both.plan.begin() + 8));
  }
}

TEST_F(DriveTest, BitsDependNeitherOnTheBatchNorOnTheLayout) {
  const Case c = drive(70, 3);
  testing::expect_bits_of_each_alone(c, start(c, 3));
}

TEST_F(DriveTest, BitsDoNotDependOnTheOrderOfThreads) {
  if (on_hardware()) GTEST_SKIP() << "orders are the emulator's";
  Case c = drive(50, 2);
  c.config.horizon = 20;
  c.config.prior = Prior::uniform;
  testing::expect_bits_in_any_order(c, start(c, 2), 3 << 10);
}

TEST_F(DriveTest, TakesGivenNoise) {
  const Case c = drive(40, 1);
  Random random(8);
  DevicePlanner planner(c.config, c.shape, c.on_device(), {}, device_of());
  testing::expect_given_noise(c, start(c, 1), random.normals(40u * 101 * 2, 0.2), planner);
}

TEST_F(DriveTest, GivenNoiseOfAFullCovarianceIsNotCorrelatedAgain) {
  Case c = drive(40, 1);
  c.config.covariance = {{0.04, 0.06}, {0.06, 0.16}};
  c.config.control_mode = ControlMode::mean_residual;
  const Buffers given = start(c, 1);
  Random random(9);
  for (Prior prior : {Prior::gaussian, Prior::uniform}) {
    c.config.prior = prior;
    DevicePlanner planner(c.config, c.shape, c.on_device(), {}, device_of());
    testing::expect_given_noise(c, given, random.normals(40u * 101 * 2, 0.2), planner);
    // drawn by the host for given members, and by the device
    const std::vector<int> member(100);
    PlanTrace drawn, handed;
    handed.member = member;
    planner.solve({1, 2}, Buffers(given).batch(), &drawn);
    planner.solve({1, 2}, Buffers(given).batch(), &handed);
    for (std::size_t i = 0; i < drawn.cost.size(); ++i)
      expect_near(handed.cost[i], drawn.cost[i], 3e-5, "cost");
  }
}

TEST_F(DriveTest, ABadStateIsAStatus) {
  const Case c = drive(33, 2);
  Buffers b = start(c, 2);
  const std::vector<float> before = b.plan;
  b.observation[1] = std::nanf("");
  DevicePlanner(c.config, c.shape, c.on_device(), {}, device_of()).solve({1, 1}, b.batch());
  EXPECT_EQ(b.status[0], PlanStatus::bad_state);
  EXPECT_EQ(b.status[1], PlanStatus::ok);
  EXPECT_TRUE(std::equal(b.plan.begin(), b.plan.begin() + 202, before.begin()));
}

TEST_F(DriveTest, TakesChangedParameters) {
  const Case c = drive(64, 1);
  const Buffers given = start(c, 1);
  DevicePlanner planner(c.config, c.shape, c.on_device(), {}, device_of());
  for (float& cell : cells) cell = 10 - cell;
  planner.update(DeviceModels{.reward = &reward});
  EXPECT_TRUE(compare(c, given, planner));
  std::vector<float> other_cells(4);
  const tasks::DiffDriveReward smaller({2, 2, 1, 0, 0, other_cells.data()}, 4, 4);
  EXPECT_THROW(planner.update(DeviceModels{.reward = &smaller}), Error);
}

TEST_F(DriveTest, AFullProcessorGetsShortChunks) {
  // of an H100: blocks of 32 that share a processor, and one rollout a block where they are few
  const auto planned = [&](int rollouts) {
    KernelConstants k;
    k.nx = 3, k.nu = 2, k.rollouts = rollouts, k.horizon = 100;
    return choose_analytic(k, rollouts, emulator::facts_of(90), Path::automatic).source;
  };
  EXPECT_EQ(planned(128).constants.slots, 1);
  EXPECT_EQ(planned(128).constants.chunk, 101);
  EXPECT_EQ(planned(1024).constants.slots, 8);
  EXPECT_EQ(planned(16384).constants.slots, 32);
  EXPECT_EQ(planned(16384).constants.chunk, 51);
  EXPECT_EQ(planned(16384).blocks_per_processor, 4);
}

/// What creating a planner fails with; empty if it does not.
std::string failure(const Case& c, const DeviceModels& models, DeviceOptions options = {}) {
  try {
    DeviceFacts facts = emulator::facts_of(90);
    facts.runs_host_rules = false;  // as a real one
    DevicePlanner(c.config, c.shape, models, options,
                  std::make_shared<emulator::EmulatedDevice>(facts));
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

/// Dynamics that only a CPU knows.
class HostDynamicsModel : public DynamicsModel {
 public:
  explicit HostDynamicsModel(int members = 1) : members_(members) {}
  int members() const override { return members_; }
  std::size_t scratch_bytes(int) const override { return 0; }
  void step(int, ConstColumns, ConstColumns, int, const StepResult&, void*) const override {}

 private:
  int members_;
};

TEST_F(DriveTest, SaysWhatCannotBe) {
  const Case c = drive(64, 1);
  const auto expect = [](const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
  };
  const HostDynamicsModel host, several(3);
  DeviceModels m = c.on_device();
  m.dynamics = &host;
  expect(failure(c, m), "DynamicsModel::device_rules() gives them");
  m.dynamics = &several;
  expect(failure(c, m), "have one member, not 3");
  m = c.on_device();
  m.value = nullptr;
  expect(failure(c, m), "need one terminal value, a formula or critics");
  m = c.on_device();
  m.dynamics = nullptr;
  expect(failure(c, m), "a formula as terminal value only with formulas as dynamics");
  const NetWeights members = NetWeights::zeros(1, NetSpec::mlp({5, 8, 3}));
  m = c.on_device();
  m.members = &members;
  expect(failure(c, m), "analytic dynamics take the place of members");
  m = c.on_device();
  m.reward = nullptr;
  expect(failure(c, m), "reward must be given");
  expect(failure(c, c.on_device(), {Path::tile}), "path tile evaluates networks");
  Case other = c;
  other.config.precision = Precision::float16;
  expect(failure(other, c.on_device()), "compute in float32");
  other = c;
  other.config.control_mode = ControlMode::policy_residual;
  expect(failure(other, c.on_device()), "policy_residual");
  other = c;
  other.shape.nx = 300;
  expect(failure(other, c.on_device()), "room for 256 entries");
}

}  // namespace
}  // namespace softmpc::cuda
