// SPDX-License-Identifier: Apache-2.0
// Tests that the rules of every task compile for every device: RewardModel::device_rules().
#include <gtest/gtest.h>

#include <vector>

#include "compiling.h"
#include "diff_drive/diff_drive.h"
#include "kernel_text.h"
#include "softmpc/task.h"

namespace softmpc::cuda {
namespace {

void expect_compiles(const Compiler& compiler, const DeviceRules& rules) {
  ASSERT_FALSE(rules.type.empty());
  KernelSource source;
  source.call = "probe_rules<Rules>";
  source.header = "probe.cuh";
  source.job = "RuleJob";
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

TEST(Rules, WithParametersCompile) {
  SOFTMPC_COMPILER_OR_SKIP(compiler);
  std::vector<float> cells;
  const tasks::DiffDriveReward reward(tasks::diff_drive_room(cells), 4, 3);
  const DeviceRules rules = reward.device_rules();
  EXPECT_EQ(rules.parameters.size(), cells.size() + 7);
  expect_compiles(compiler, rules);
}

}  // namespace
}  // namespace softmpc::cuda
