// SPDX-License-Identifier: Apache-2.0
// What 16-bit operands cost on the device, over the states of an episode and trained nets at
// horizon 8: rollout weights and value against a float64 planner with the same noise. The budget of
// float16, in the median over states: total variation of the weights at most 0.02, value within
// 0.05 %. bfloat16 is printed beside. On the emulator, a few states show that the test works.
#include <gtest/gtest.h>

#include <cstdio>

#include "pipeline/recorded_states.h"
#include "planner_kernels.h"
#include "softmpc/error.h"
#include "test_device.h"

namespace softmpc::cuda {
namespace {

using softmpc::testing::Buffers;
using softmpc::testing::median;
using softmpc::testing::PrecisionErrors;
using softmpc::testing::RecordedStates;
using testing::on_hardware;
using testing::test_device;

struct PrecisionCase {
  const char* task;
  int horizon;
  double value_error;  // at most, in the median
};

struct Variant {
  Precision precision;
  Path path;
  std::unique_ptr<DevicePlanner> planner;
  PrecisionErrors errors;
};

/// Those that this device and these nets allow; the choice that users get first.
std::vector<Variant> variants_of(const RecordedStates& states) {
  std::vector<std::pair<Precision, Path>> wanted = {{Precision::float16, Path::automatic}};
  if (on_hardware())
    wanted = {{Precision::float16, Path::automatic}, {Precision::float16, Path::tile},
              {Precision::float16, Path::cluster},   {Precision::float16, Path::wgmma},
              {Precision::bfloat16, Path::tile},     {Precision::float32, Path::plain}};
  const auto device = test_device();
  std::vector<Variant> variants;
  for (const auto& [precision, path] : wanted) {
    PlannerConfig config = states.config();
    config.precision = precision;
    const std::string name =
        std::string(softmpc::to_string(precision)) + ", path " + to_string(path);
    try {
      auto planner = std::make_unique<DevicePlanner>(config, states.shape,
                                                     DeviceModels{.members = &states.bundle.members,
                                                                  .outputs = states.bundle.outputs,
                                                                  .critics = &states.bundle.critics,
                                                                  .reward = states.reward.get()},
                                                     DeviceOptions{path}, device);
      variants.push_back({precision, path, std::move(planner), {name, {}, {}}});
    } catch (const UsageError& refused) {
      EXPECT_NE(path, Path::automatic) << refused.what();
      std::printf("%s: %s\n", name.c_str(), refused.what());
    }
  }
  return variants;
}

class DevicePrecision : public ::testing::TestWithParam<PrecisionCase> {};

TEST_P(DevicePrecision, Float16StaysInItsBudget) {
  const RecordedStates states(GetParam().task, GetParam().horizon);
  std::vector<Variant> variants = variants_of(states);
  const int count = on_hardware() ? 40 : 6;
  states.play(count, 3, [&](SolveKey key, const auto& x, const auto& plan, const auto& exact) {
    for (Variant& v : variants) {
      Buffers buffers = states.buffers(x, plan);
      PlanTrace trace;
      v.planner->solve(key, buffers.batch(), &trace);
      v.errors.add(trace.cost, buffers.value[0], exact, states.config().temperature);
    }
  });
  for (const Variant& v : variants) {
    v.errors.print();
    if (v.precision != Precision::float16) continue;
    EXPECT_LE(median(v.errors.variation), 0.02) << v.errors.name;
    EXPECT_LE(median(v.errors.value), GetParam().value_error) << v.errors.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Trained, DevicePrecision,
                         ::testing::Values(PrecisionCase{"Hopper", 4, 5e-4},
                                           PrecisionCase{"Hopper", 8, 5e-4},
                                           PrecisionCase{"InvertedDoublePendulum", 4, 5e-4},
                                           PrecisionCase{"InvertedDoublePendulum", 8, 1e-2}),
                         [](const auto& info) {
                           return std::string(info.param.task) + "Horizon" +
                                  std::to_string(info.param.horizon);
                         });

}  // namespace
}  // namespace softmpc::cuda
