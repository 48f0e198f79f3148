// SPDX-License-Identifier: Apache-2.0
// What bfloat16 operands cost, over the states of an episode and trained nets: rollout weights and
// value against a float64 planner with the same noise. The budget, in the median over states: total
// variation of the weights at most 0.05, value within 0.1 %. The critic stays in float32: what it
// would cost to narrow it too is printed beside.
#include <gtest/gtest.h>

#include <cstdio>

#include "cpu/packed_mlp.h"
#include "recorded_states.h"

namespace softmpc {
namespace {

using testing::Buffers;
using testing::median;
using testing::PrecisionErrors;
using testing::RecordedStates;

constexpr int kStates = 40, kEvery = 3;

/// A way to evaluate the same nets, and what it came to.
struct Variant {
  std::unique_ptr<MlpDynamics> dynamics;
  std::unique_ptr<MlpValue> value;
  PrecisionErrors errors;

  Variant(const char* name, const Bundle& b, Precision members, Precision critic)
      : dynamics(std::make_unique<MlpDynamics>(b.members, b.nx, b.nu, b.outputs, members)),
        value(std::make_unique<MlpValue>(
            std::make_shared<PackedMlp>(b.critics, cpu::Activation::none, 0, critic), b.nx, b.nu,
            0)),
        errors{name, {}, {}} {}
};

class PrecisionTest : public ::testing::TestWithParam<const char*> {};

TEST_P(PrecisionTest, Bfloat16StaysInItsBudget) {
  const RecordedStates states(GetParam());
  const Bundle& b = states.bundle;
  Variant variants[] = {
      {"float32", b, Precision::float32, Precision::float32},
      {"bfloat16 members", b, Precision::bfloat16, Precision::float32},
      {"bfloat16 members and critic", b, Precision::bfloat16, Precision::bfloat16}};
  Planner planner(states.config(), states.shape);
  states.play(kStates, kEvery,
              [&](SolveKey key, const auto& x, const auto& plan, const auto& exact) {
                for (Variant& v : variants) {
                  Buffers buffers = states.buffers(x, plan);
                  PlanTrace trace;
                  planner.solve({v.dynamics.get(), states.reward.get(), v.value.get(), nullptr},
                                key, buffers.batch(), &trace);
                  v.errors.add(trace.cost, buffers.value[0], exact, states.config().temperature);
                }
                if (variants[0].errors.value.size() == 1)
                  std::printf("%s, value of the first state %.1f\n", GetParam(), exact.value);
              });
  for (const Variant& v : variants) v.errors.print();
  EXPECT_LT(median(variants[0].errors.variation), 1e-3);
  EXPECT_LT(median(variants[1].errors.variation), 0.05);
  EXPECT_LT(median(variants[1].errors.value), 1e-3);
}

INSTANTIATE_TEST_SUITE_P(Trained, PrecisionTest,
                         ::testing::Values("Hopper", "InvertedDoublePendulum"));

}  // namespace
}  // namespace softmpc
