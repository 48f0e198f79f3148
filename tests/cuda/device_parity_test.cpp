// SPDX-License-Identifier: Apache-2.0
// Random problems of all settings on every path of the device against the double-precision oracle.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "../core/planner_oracle.h"
#include "../core/random_models.h"
#include "../core/random_problem.h"
#include "plan/device_planner.h"
#include "test_device.h"

namespace softmpc::cuda {
namespace {

using softmpc::testing::Buffers;
using softmpc::testing::Random;
using softmpc::testing::TestReward;
using testing::case_count;
using testing::inputs_of_a_case;
using testing::test_device;

/// Absolute in units of 1 + |oracle|.
struct Tolerances {
  double cost, value, plan;
  Tolerances times(double factor) const { return {factor * cost, factor * value, factor * plan}; }
};
// of the CPU planner's test
constexpr Tolerances kFloat32 = {2e-5, 4e-5, 2e-4};
// random nets of gain 0.8 over up to 7 steps at temperatures from 0.3; measured, with a margin of 3
constexpr Tolerances kFloat16 = {4e-3, 4e-3, 8e-3};
constexpr Tolerances kBfloat16 = {3e-2, 3e-2, 6e-2};
// of 16-bit nets with LayerNorm, which divides rounding by the deviation of a narrow layer's units:
// 1.2 in 80 such problems, with a margin of 2
constexpr double kLayerNorm = 2.5;

struct PathCase {
  const char* name;
  Path path;
  Precision precision;
  Tolerances tolerances;
  int capability, processors;  // of the emulator
  int narrowest, widest;       // hidden units
  int cases;
};

void expect_close(double got, double expected, double tolerance, const std::string& what) {
  EXPECT_NEAR(got, expected, tolerance * (1 + std::abs(expected))) << what;
}

void compare_update(const oracle::Problem& p, const Tolerances& tolerances, const PlanTrace& trace,
                    std::size_t row, const oracle::Update& expected) {
  const auto k = static_cast<std::size_t>(p.config.rollouts);
  for (std::size_t i = 0; i < k; ++i) {
    expect_close(trace.cost[row * k + i], expected.cost[i], tolerances.cost, "cost");
    if (p.config.prior == Prior::uniform) {
      EXPECT_EQ(trace.valid[row * k + i] != 0, expected.valid[i]) << "valid " << i;
    }
  }
  expect_close(trace.value[row], expected.value, tolerances.value, "value");
  const Eigen::Index steps = p.config.horizon + 1, nu = p.shape.nu;
  for (Eigen::Index t = 0; t < steps; ++t)
    for (Eigen::Index i = 0; i < nu; ++i)
      expect_close(trace.plan[(row * steps + t) * nu + i], expected.plan(t, i), tolerances.plan,
                   "plan");
}

/// 16-bit products leave no room for decisions near a boundary: no terminations, and a policy only
/// where no v_t is judged.
void soften(oracle::Problem& p) {
  p.config.handle_terminations = false;
  if (p.config.prior == Prior::uniform && p.config.control_mode == ControlMode::policy_residual)
    p.config.control_mode = ControlMode::plain;
}

class DeviceParity : public ::testing::TestWithParam<PathCase> {};

struct Counts {
  int compared = 0;
  int correlated = 0;  // of them
  int normalised = 0;  // of them
};

/// One input of a random case; false if a decision was too close to call.
bool compare_input(const oracle::Problem& p, const Tolerances& tolerances, const SolveKey& key,
                   Buffers& buffers, DevicePlanner& planner) {
  const auto expected = oracle::solve(p, {key, buffers.id, buffers.observation, buffers.plan});
  const bool exact = p.config.precision == Precision::float32;
  if (exact && expected.margin < 2e-6) return false;
  const auto problems = static_cast<int>(buffers.id.size());
  Buffers again = buffers;
  PlanTrace trace;
  planner.solve(key, buffers.batch(), &trace);
  for (int iteration = 0; iteration < p.config.iterations; ++iteration)
    for (int b = 0; b < problems; ++b)
      compare_update(p, tolerances, trace, static_cast<std::size_t>(iteration * problems + b),
                     expected.update[iteration][b]);
  for (int b = 0; b < problems; ++b) {
    const oracle::Update& last = expected.update.back()[b];
    EXPECT_EQ(buffers.status[b], last.all_invalid ? PlanStatus::all_invalid : PlanStatus::ok);
    if (exact) {
      EXPECT_EQ(buffers.valid_share[b], last.valid_share);
    }
    for (int i = 0; i < p.shape.nu; ++i)
      expect_close(buffers.action[b * p.shape.nu + i], expected.action[b][i], tolerances.plan,
                   "action");
  }
  // the recorded graph computes the same bits as the traced iterations
  planner.solve(key, again.batch());
  EXPECT_EQ(again.plan, buffers.plan);
  EXPECT_EQ(again.value, buffers.value);
  return true;
}

/// One random case, counted if one of its inputs was compared.
void run_case(const PathCase& c, std::uint64_t seed, Counts& counts) {
  Random random(seed);
  oracle::Problem p = softmpc::testing::random_problem(random, c.narrowest, c.widest);
  const bool exact = c.precision == Precision::float32;
  if (!exact) soften(p);
  const bool sliced = c.path == Path::cluster || c.path == Path::wgmma;
  const bool norm = !sliced && seed % 3 == 0;
  if (norm) softmpc::testing::add_layer_norm(random, p);
  if (sliced) {
    p.config.member_draw = MemberDraw::per_step;
    p.config.particles = 1;
  }
  if (c.path == Path::wgmma && p.config.control_mode == ControlMode::policy_residual)
    p.config.control_mode = ControlMode::plain;
  p.config.precision = c.precision;
  const int problems = random.whole(1, p.shape.max_problems);
  SCOPED_TRACE(std::string(c.name) + ", seed " + std::to_string(seed) + ": " +
               softmpc::testing::describe(p.config, p.shape, problems) +
               (norm ? ", LayerNorm" : ""));
  const TestReward reward(p.shape.nx, p.shape.nu, true);
  const DeviceModels models = {&p.members, p.outputs, &p.critic, 0, &*p.policy, &reward};
  DevicePlanner planner(p.config, p.shape, models, {c.path},
                        test_device(c.capability, c.processors));
  bool compared = false;
  for (int input = 0; input < inputs_of_a_case() && !::testing::Test::HasFailure(); ++input) {
    SCOPED_TRACE("input " + std::to_string(input));
    Buffers buffers = softmpc::testing::random_buffers(random, problems, p.shape, p.config.horizon);
    const SolveKey key = {seed * 7919 + 1, static_cast<std::uint32_t>(random.whole(0, 1 << 30))};
    const Tolerances tolerances = c.tolerances.times(norm && !exact ? kLayerNorm : 1);
    compared = compare_input(p, tolerances, key, buffers, planner) || compared;
  }
  counts.compared += compared;
  counts.correlated += compared && !p.config.covariance.empty();
  counts.normalised += compared && norm;
}

TEST_P(DeviceParity, RandomProblemsAgreeWithTheOracle) {
  const PathCase& c = GetParam();
  const int cases = case_count(c.cases, 10);
  Counts counts;
  for (int seed = 1; seed <= cases && !HasFailure(); ++seed)
    run_case(c, static_cast<std::uint64_t>(seed), counts);
  std::printf(
      "%s: seeds 1..%d, %d compared, %d of them with a full covariance, %d with LayerNorm\n",
      c.name, cases, counts.compared, counts.correlated, counts.normalised);
  EXPECT_GE(counts.compared, cases / 2);
  EXPECT_GE(counts.correlated, 1);
  EXPECT_EQ(counts.normalised > 0, c.path == Path::plain || c.path == Path::tile);
}

INSTANTIATE_TEST_SUITE_P(
    Paths, DeviceParity,
    ::testing::Values(
        PathCase{"plain", Path::plain, Precision::float32, kFloat32, 80, 0, 3, 40, 40},
        PathCase{"tile16", Path::tile, Precision::float16, kFloat16, 80, 0, 3, 64, 20},
        PathCase{"tile_bf16", Path::tile, Precision::bfloat16, kBfloat16, 80, 0, 3, 64, 10},
        // one processor is filled sooner: tiles of 32 and 64
        PathCase{"tile64", Path::tile, Precision::float16, kFloat16, 80, 1, 3, 64, 20},
        PathCase{"tile_128", Path::tile, Precision::float16, kFloat16, 80, 1, 65, 128, 6},
        PathCase{"tile_wide", Path::tile, Precision::float16, kFloat16, 80, 1, 200, 256, 4},
        PathCase{"cluster16", Path::cluster, Precision::float16, kFloat16, 90, 0, 200, 256, 10},
        PathCase{"cluster32", Path::cluster, Precision::float16, kFloat16, 90, 8, 200, 256, 6},
        PathCase{"wgmma", Path::wgmma, Precision::float16, kFloat16, 90, 0, 3, 256, 10},
        PathCase{"wgmma_bf16", Path::wgmma, Precision::bfloat16, kBfloat16, 90, 0, 3, 64, 8}),
    [](const auto& each) { return std::string(each.param.name); });

}  // namespace
}  // namespace softmpc::cuda
