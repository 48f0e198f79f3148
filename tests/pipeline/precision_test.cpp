// SPDX-License-Identifier: Apache-2.0
// What bfloat16 operands cost, over the states of an episode and trained nets: rollout weights and
// value against a float64 planner with the same noise. The budget, in the median over states: total
// variation of the weights at most 0.05, value within 0.1 %. The critic stays in float32: what it
// would cost to narrow it too is printed beside.
#include <gtest/gtest.h>

#include "cpu/packed_mlp.h"
#include "precision_play.h"

namespace softmpc {
namespace {

using testing::median;
using testing::PrecisionPlay;
using testing::Variant;

constexpr int kStates = 40;

/// The CPU planner with members and critic in these precisions.
Variant variant(const char* name, const PrecisionPlay& play, Precision members, Precision critic) {
  const Bundle& b = play.bundle;
  auto dynamics = std::make_shared<MlpDynamics>(b.members, b.nx, b.nu, b.outputs, members);
  auto value = std::make_shared<MlpValue>(
      std::make_shared<PackedMlp>(b.critics, Activation::none, 0, critic), b.nx, b.nu, 0);
  const std::shared_ptr<Planner> planner =
      make_planner(play.config, play.shape, {dynamics.get(), play.reward.get(), value.get()});
  return {name,
          // the models live as long as what borrows them
          [planner, dynamics, value](SolveKey key, const PlanBatch& batch, PlanTrace& trace) {
            planner->solve(key, batch, &trace);
          },
          {},
          {}};
}

class PrecisionTest : public ::testing::TestWithParam<const char*> {};

TEST_P(PrecisionTest, Bfloat16StaysInItsBudget) {
  PrecisionPlay play(GetParam());
  std::vector<Variant> variants = {
      variant("float32", play, Precision::float32, Precision::float32),
      variant("bfloat16 members", play, Precision::bfloat16, Precision::float32),
      variant("bfloat16 members and critic", play, Precision::bfloat16, Precision::bfloat16)};
  play.play(kStates, variants);
  const Variant &exact = variants[0], &narrow = variants[1];
  EXPECT_LT(median(exact.variation), 1e-3);
  EXPECT_LT(median(narrow.variation), 0.05);
  EXPECT_LT(median(narrow.value_error), 1e-3);
}

INSTANTIATE_TEST_SUITE_P(Trained, PrecisionTest,
                         ::testing::Values("Hopper", "InvertedDoublePendulum"));

}  // namespace
}  // namespace softmpc
