// SPDX-License-Identifier: Apache-2.0
// What 16-bit operands of a device cost, over the states of an episode and trained nets: rollout
// weights and value against a float64 planner with the same noise. The budget of float16, in the
// median over states: total variation of the weights at most 0.02, value within 0.05 %.
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "pipeline/precision_play.h"
#include "plan/device_planner.h"
#include "test_device.h"

namespace softmpc::cuda {
namespace {

using softmpc::testing::median;
using softmpc::testing::PrecisionPlay;
using softmpc::testing::Variant;
using testing::on_hardware;

Variant variant(const char* name, const PrecisionPlay& play, Precision precision,
                DeviceOptions options) {
  PlannerConfig config = play.config;
  config.precision = precision;
  const DeviceModels models = {
      &play.bundle.members, play.bundle.outputs, &play.bundle.critics, 0, nullptr,
      play.reward.get()};
  options.path = Path::tile;  // paths differ in the order of sums only
  // half an older device: tiles of 64 are emulated faster
  auto planner = std::make_shared<DevicePlanner>(config, play.shape, models, options,
                                                 testing::test_device(80, 1));
  return {name,
          [=](SolveKey key, const PlanBatch& batch, PlanTrace& trace) {
            planner->solve(key, batch, &trace);
          },
          {},
          {}};
}

class DevicePrecision : public ::testing::TestWithParam<std::tuple<const char*, int>> {};

TEST_P(DevicePrecision, Float16StaysInItsBudget) {
  const auto [name, horizon] = GetParam();
  PrecisionPlay play(name, horizon);
  std::vector<Variant> variants = {variant("float16", play, Precision::float16, {})};
  const bool all = on_hardware() || std::getenv("SOFTMPC_TEST_ALL") != nullptr;
  if (all) {
    variants.push_back(
        variant("float16, members not split", play, Precision::float16, {.split_edges = false}));
    variants.push_back(variant("float16, nothing split", play, Precision::float16,
                               {.split_critic = false, .split_edges = false}));
    variants.push_back(variant("bfloat16", play, Precision::bfloat16, {}));
  }
  play.play(all ? 40 : 5, variants);
  EXPECT_LT(median(variants[0].variation), 0.02);
  EXPECT_LT(median(variants[0].value_error), 5e-4);
}

INSTANTIATE_TEST_SUITE_P(Trained, DevicePrecision,
                         ::testing::Combine(::testing::Values("Hopper", "InvertedDoublePendulum"),
                                            ::testing::Values(4, 8)));

}  // namespace
}  // namespace softmpc::cuda
