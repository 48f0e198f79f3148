// SPDX-License-Identifier: Apache-2.0
// Tests that the rules of every task compile for every device: RewardModel::device_rules().
#include <gtest/gtest.h>

#include <vector>

#include "analytic_models.h"
#include "compiling.h"
#include "diff_drive/diff_drive.h"
#include "plan/dispatch.h"
#include "runtime/kernel_text.h"
#include "softmpc/task.h"

namespace softmpc::cuda {
namespace {

KernelSource probe() {
  KernelSource source;
  source.call = "probe_rules<Rules>";
  source.header = "probe.cuh";
  source.job = "RuleJob";
  return source;
}

void expect_compiles(const Compiler& compiler, const DeviceRules& rules,
                     KernelSource source = probe()) {
  ASSERT_FALSE(rules.type.empty());
  source.rules = rules;
  for (int capability : kCapabilities) {
    const std::string cubin = compile_text(compiler, kernel_text(source), capability);
    EXPECT_EQ(read_cubin(cubin, kKernelName).frame_bytes, 0);
  }
}

TEST(Rules, OfEveryTaskCompile) {
  SOFTMPC_COMPILER_OR_SKIP(compiler);
  int compiled = 0;
  for (const std::string& name : task_names()) {
    for (bool positions : {true, false}) {
      SCOPED_TRACE(name + (positions ? " with positions" : " without positions"));
      const TaskOptions options{.positions = positions};
      const Task& task = find_task(name);
      for (const auto& model : {task.make_reward(options), task.make_termination(options)}) {
        if (!model) continue;
        expect_compiles(compiler, model->device_rules());
        ++compiled;
      }
    }
  }
  EXPECT_GE(compiled, 20);
}

// which gives them a state that lies in a column
TEST(Rules, CompileInAPolicysGradient) {
  SOFTMPC_COMPILER_OR_SKIP(compiler);
  KernelSource source;
  source.header = "policy_rollout.cuh";
  source.job = "PolicyGradientJob";
  for (const char* call : {"policy_gradient<Rules>", "policy_imagine<Rules>"}) {
    source.call = call;
    expect_compiles(compiler, find_task("Hopper").make_reward({})->device_rules(), source);
  }
}

TEST(Rules, WithParametersCompile) {
  SOFTMPC_COMPILER_OR_SKIP(compiler);
  std::vector<float> cells;
  const tasks::DiffDriveReward reward(tasks::diff_drive_room(cells), 4, 3);
  const DeviceRules rules = reward.device_rules();
  EXPECT_EQ(rules.parameters.size(), cells.size() + 7);
  expect_compiles(compiler, rules);
}

/// The kernel that plans with these models, on devices of each capability; `value` is null where
/// sizes have a critic. `registers`: without local memory.
void expect_plans(const Compiler& compiler, KernelConstants sizes, const RewardModel& reward,
                  const DynamicsModel& dynamics, const TerminalValue* value, bool registers) {
  for (int capability : kCapabilities) {
    DeviceFacts device;
    device.capability = capability;
    device.processors = capability == 80 ? 108 : 132;
    device.shared_per_block = (capability == 80 ? 163 : 227) << 10;
    KernelSource source = choose_analytic(sizes, sizes.rollouts, device, Path::automatic).source;
    source.rules = reward.device_rules();
    source.dynamics = dynamics.device_rules();
    if (value) source.value = value->device_rules();
    const std::string cubin = compile_text(compiler, kernel_text(source), capability);
    const CubinFacts facts = read_cubin(cubin, kKernelName);
    EXPECT_LE(facts.registers, 65536 / source.threads / source.blocks_per_processor);
    EXPECT_EQ(facts.static_shared, 0);
    if (registers) {
      EXPECT_EQ(facts.frame_bytes, 0);
    }
  }
}

TEST(Rules, OfAnalyticModelsCompile) {
  SOFTMPC_COMPILER_OR_SKIP(compiler);
  KernelConstants sizes;
  sizes.nx = 3, sizes.nu = 2, sizes.horizon = 100, sizes.members = sizes.particles = 1;
  std::vector<float> cells;
  const tasks::DiffDriveReward reward(tasks::diff_drive_room(cells), 4, 3);
  const tasks::DiffDriveDynamics dynamics;
  const tasks::DiffDriveValue value(4, 3);
  for (int rollouts : {128, 16384}) {
    for (int uniform : {0, 1}) {
      sizes.rollouts = rollouts;
      sizes.uniform_prior = sizes.handle_terminations = uniform;
      sizes.correlated = 0;
      expect_plans(compiler, sizes, reward, dynamics, &value, true);
      sizes.correlated = 1;
      expect_plans(compiler, sizes, reward, dynamics, &value, true);
    }
  }
  // sizes that the rules read from parameters, which takes local arrays
  sizes.nx = 6, sizes.nu = 5;
  const softmpc::testing::TestValue by_parameters(6, 1);
  expect_plans(compiler, sizes, softmpc::testing::TestReward(6, 5, true),
               softmpc::testing::TestDynamics(6, 5, 0.1f), &by_parameters, false);
}

TEST(Rules, OfDynamicsBesideACriticCompile) {
  SOFTMPC_COMPILER_OR_SKIP(compiler);
  KernelConstants sizes;
  sizes.nx = 3, sizes.nu = 2, sizes.horizon = 20, sizes.members = sizes.particles = 1;
  sizes.critic_layers = 2, sizes.critic_width = 256;
  std::vector<float> cells;
  const tasks::DiffDriveReward reward(tasks::diff_drive_room(cells), 4, 3);
  const tasks::DiffDriveDynamics dynamics;
  // one, two, four and all rollouts that a block asks at once
  for (int rollouts : {100, 200, 500, 16384}) {
    SCOPED_TRACE(rollouts);
    sizes.rollouts = rollouts;
    sizes.uniform_prior = sizes.handle_terminations = rollouts > 300;
    for (int correlated : {0, 1}) {
      sizes.correlated = correlated;
      expect_plans(compiler, sizes, reward, dynamics, nullptr, true);
    }
  }
}

TEST(Rules, OfAnalyticTasksDynamicsCompile) {
  SOFTMPC_COMPILER_OR_SKIP(compiler);
  for (const char* name : {"lq", "pendulum"}) {
    SCOPED_TRACE(name);
    const Task& task = find_task(name);
    const TaskSpec spec = task.spec({});
    KernelConstants sizes;
    sizes.nx = spec.nx, sizes.nu = spec.nu, sizes.horizon = 20, sizes.members = sizes.particles = 1;
    sizes.rollouts = 200;
    const auto dynamics = task.make_dynamics({});
    ASSERT_FALSE(dynamics->device_rules().type.empty());
    const softmpc::testing::TestValue value(spec.nx, 1);
    // sin and cos of large angles need local memory
    expect_plans(compiler, sizes, *task.make_reward({}), *dynamics, &value, spec.name == "lq");
  }
}

}  // namespace
}  // namespace softmpc::cuda
