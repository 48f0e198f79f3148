// SPDX-License-Identifier: Apache-2.0
// Tests for kernels/policy_rollout.cuh and cuda/train/policy_trainer.cpp on the emulated device:
// proposed plans, what critics learn of rollouts and the policy's gradient against rollouts in
// double precision, the gradient by finite differences of the loss, for random shapes.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <limits>

#include "kernels/train_memory.h"
#include "policy_case.h"
#include "train/policy_trainer.h"

namespace softmpc::cuda {
namespace {

using softmpc::testing::Random;
using testing::Doubles;
using testing::PolicyCase;
using testing::read;
using testing::test_device;
using testing::upload;

struct Gradient {
  std::vector<float> input, slope;  // [nx, (H+1) R], [nu, (H+1) R]
  int stride;
};

PolicyGradientNets nets_of(const PolicyCase& c) {
  return {c.policy->flat(),         c.ensemble->flat(), c.critic->flat(),
          c.critic_targets->flat(), c.members,          c.critic_targets->stack()};
}

std::unique_ptr<Memory> counters_of(Device& device, const PolicyCase& c) {
  TrainCounters counters{};
  counters.seed = c.seed;
  counters.critic_steps = c.critic_steps;
  return upload(device, std::vector{counters});
}

Gradient gradient_of(Device& device, const PolicyCase& c) {
  Config config = c.config;
  config.critic.imagined_steps = 0;
  PolicyTrainer trainer(device, config, c.task, *c.policy, *c.target, nets_of(c));
  const auto counters = counters_of(device, c);
  device.upload(trainer.state(), c.states.data(), c.states.size() * sizeof(float));
  trainer.differentiate(counters->as<TrainCounters>());
  const TrainStack& s = trainer.net().stack();
  return {read(device, s.input, static_cast<std::size_t>(c.task.nx) * s.stride),
          read(device, s.slope, static_cast<std::size_t>(c.task.nu) * s.stride), s.stride};
}

/// Squares of differences and of what was expected.
struct Distance {
  double difference = 0, size = 0;
  void add(double found, double expected) {
    difference += (found - expected) * (found - expected);
    size += expected * expected;
  }
  double relative() const { return std::sqrt(difference / (size + 1e-20)); }
};

void expect_gradient(Device& device, const PolicyCase& c) {
  const Gradient g = gradient_of(device, c);
  const int steps = c.horizon() + 1, step_rows = g.stride / steps;
  Distance inputs, slopes;
  for (int row = 0; row < c.rows; ++row) {
    double margin = std::numeric_limits<double>::infinity();
    Doubles expected;
    c.loss(row, -1, 0, 0, margin, &expected);
    if (margin < 1e-3) continue;  // rounding decides
    for (int t = 0; t < steps; ++t) {
      const std::size_t column = static_cast<std::size_t>(t) * step_rows + row;
      for (int i = 0; i < c.task.nx; ++i)
        inputs.add(g.input[i * static_cast<std::size_t>(g.stride) + column],
                   expected[static_cast<std::size_t>(t) * c.task.nx + i]);
      for (int i = 0; i < c.task.nu; ++i) {
        constexpr double kDelta = 1e-5;
        const double change =
            c.loss(row, t, i, kDelta, margin) - c.loss(row, t, i, -kDelta, margin);
        slopes.add(g.slope[i * static_cast<std::size_t>(g.stride) + column],
                   -change / (2 * kDelta * c.rows));
      }
    }
  }
  EXPECT_LT(inputs.relative(), 1e-5);
  EXPECT_LT(slopes.relative(), 1e-4);
  for (int t = 0; t < steps; ++t)  // padding has no say
    for (int row = c.rows; row < step_rows; ++row)
      EXPECT_EQ(g.slope[static_cast<std::size_t>(t) * step_rows + row], 0);
}

/// Random cases, each as `prepare` leaves it, for `check`; all of one seed, which is shown.
void for_random_cases(
    std::uint32_t count, const std::function<void(PolicyCase&, Random&)>& prepare,
    const std::function<void(Device&, PolicyCase&, Random&, std::uint32_t)>& check) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Random random(seed);
  const auto device = test_device();
  for (std::uint32_t k = 0; k < count; ++k) {
    PolicyCase c(random, 70, 50);
    prepare(c, random);
    SCOPED_TRACE(c.text());
    c.create(*device, random);
    check(*device, c, random, k);
  }
}

void as_it_is(PolicyCase&, Random&) {}

TEST(PolicyGradient, IsThatOfTheLoss) {
  for_random_cases(16, as_it_is, [](Device& device, PolicyCase& c, Random&, std::uint32_t) {
    expect_gradient(device, c);
  });
}

TEST(PolicyGradient, WideLayersTakeSeveralTiles) {
  Random random(3);
  const auto device = test_device();
  PolicyCase c(random, 3, 20);
  c.width = 300;
  c.layers = 2;
  c.config.policy.objective = PolicyObjective::rollout;
  c.create(*device, random);
  expect_gradient(*device, c);
}

// what lies behind an end may be infinite
TEST(PolicyGradient, IsFiniteWhereAStateOverflowsBehindItsEnd) {
  Random random(8);
  const auto device = test_device();
  PolicyCase c(random, 20, 20);
  c.config.policy.objective = PolicyObjective::rollout;
  c.config.planner.handle_terminations = true;
  c.task.outputs.termination = false;
  c.config.planner.horizon = 3;
  for (float& x : c.states) x = 1e38f;  // x_0 >= 0.8 ends at once
  c.create(*device, random);
  NetNormalisation constants = c.models[0].constants;
  constants.output_mean.assign(constants.output_mean.size(), 3e38f);
  c.ensemble->upload_normalisation(constants);
  const Gradient g = gradient_of(*device, c);
  for (const auto* v : {&g.input, &g.slope})
    EXPECT_TRUE(std::ranges::all_of(*v, [](float f) { return std::isfinite(f); }));
}

TEST(PolicyGradient, BitsDoNotDependOnTheOrderOfThreadsAndBlocks) {
  Gradient first;
  for (const emulator::RunOptions& options : emulator::all_orders(2)) {
    Random random(11);
    const auto device = test_device(80, 0, options);
    PolicyCase c(random, 70, 40);
    c.rows = c.config.critic.batch_size = 40;
    c.states = random.normals(static_cast<std::size_t>(c.rows) * c.task.nx);
    c.create(*device, random);
    Gradient g = gradient_of(*device, c);
    if (first.slope.empty()) first = g;
    EXPECT_EQ(g.slope, first.slope) << emulator::to_string(options);
    EXPECT_EQ(g.input, first.input) << emulator::to_string(options);
  }
}

/// What the critics are given: [nx + nu, columns], [columns], [columns], from the first imagined
/// column on, and afterwards the policy's gradient.
struct Imagined {
  std::vector<float> input, goal, alive, slope;
  int columns, stride;  // of one step; of the batch
};

Imagined imagine(Device& device, const PolicyCase& c) {
  PolicyTrainer trainer(device, c.config, c.task, *c.policy, *c.target, nets_of(c));
  const int step = parts_of(c.rows, kTrainRows) * kTrainRows;
  const int rows = c.rows + c.config.critic.imagined_steps * step;
  TrainNet batch(device, 1, c.critic->spec(), rows, c.critic->parameters());
  trainer.feed(batch);
  const auto counters = counters_of(device, c);
  device.upload(trainer.state(), c.states.data(), c.states.size() * sizeof(float));
  trainer.imagine(counters->as<TrainCounters>());
  trainer.differentiate(counters->as<TrainCounters>());
  const TrainStack &s = batch.stack(), &p = trainer.net().stack();
  EXPECT_EQ(s.imagined, c.config.critic.imagined_steps * step);
  EXPECT_EQ(s.first_imagined, step);
  return {read(device, s.input, static_cast<std::size_t>(s.in) * s.stride),
          read(device, s.imagined_goal, s.imagined),
          read(device, s.alive, s.imagined),
          read(device, p.slope, static_cast<std::size_t>(c.task.nu) * p.stride),
          step,
          s.stride};
}

void expect_imagined(Device& device, const PolicyCase& c) {
  const Imagined found = imagine(device, c);
  const Gradient gradient = gradient_of(device, c);
  Distance inputs, goals;
  for (int t = 0; t < c.config.critic.imagined_steps; ++t)
    for (int row = 0; row < found.columns; ++row) {
      const int column = t * found.columns + row;
      if (row >= c.rows) {
        EXPECT_EQ(found.alive[column], 0);
        continue;
      }
      double margin = std::numeric_limits<double>::infinity();
      const std::vector<PolicyCase::Step> steps = c.imagine(row, margin);
      if (margin < 1e-3) continue;
      ASSERT_EQ(found.alive[column], steps[t].alive ? 1 : 0) << "step " << t << ", row " << row;
      if (!steps[t].alive) continue;
      goals.add(found.goal[column], steps[t].goal);
      for (std::size_t i = 0; i < steps[t].input.size(); ++i)
        inputs.add(found.input[i * found.stride + found.columns + column], steps[t].input[i]);
    }
  EXPECT_LT(inputs.relative(), 1e-5);
  EXPECT_LT(goals.relative(), 1e-5);
  EXPECT_EQ(found.slope, gradient.slope) << "a gradient of rollouts that were there already";
}

TEST(PolicyImagine, GivesTheReturnOfTheRestOfTheRollout) {
  for_random_cases(
      16,
      [](PolicyCase& c, Random& random) {
        c.config.policy.objective = PolicyObjective::rollout;
        c.config.critic.imagined_steps = random.whole(1, c.config.planner.horizon);
      },
      [](Device& device, PolicyCase& c, Random&, std::uint32_t) { expect_imagined(device, c); });
}

/// Observations and start plans of both parts.
struct Proposals {
  std::vector<float> observation, plan;
};

Proposals propose(Device& device, const PolicyCase& c, SolveHeader key,
                  const std::vector<float>& given) {
  PolicyRollout nets{};
  nets.policy = c.policy->flat();
  nets.members = c.ensemble->flat();
  nets.stack = c.members;
  nets.horizon = c.config.planner.horizon;
  PolicyRolloutMemory memory(device, c.config.planner, c.shape(c.rows), nets);
  const auto states = upload(device, c.states), start = upload(device, given);
  const auto header = upload(device, std::vector{key});
  const auto observation = upload(device, std::vector<float>(2 * c.states.size()));
  const auto plans = upload(device, std::vector<float>(2 * given.size()));
  PolicyRollout rollout = memory.rollout();
  rollout.start = states->as<float>();
  const ProposalJob job = {rollout, header->as<SolveHeader>(), start->as<float>(),
                           observation->as<float>(), plans->as<float>()};
  const auto kernel = device.load({.call = "propose_plans",
                                   .header = "policy_rollout.cuh",
                                   .job = "ProposalJob",
                                   .threads = kTrainThreads});
  device.launch(
      *kernel,
      {.blocks = rollout.chunks(), .threads = kTrainThreads, .shared_bytes = sizeof(TrainMemory)},
      job);
  return {read(device, job.observation, 2 * c.states.size()),
          read(device, job.plan, 2 * given.size())};
}

/// u_t = mu(x_t) - n of one row, [H+1, nu].
Doubles proposed(const PolicyCase& c, SolveHeader key, int row) {
  const int nx = c.task.nx;
  const PlannerConstants constants(c.config.planner, c.shape(1));
  Doubles x(c.states.begin() + row * nx, c.states.begin() + (row + 1) * nx), plan;
  for (int t = 0; t <= c.config.planner.horizon; ++t) {
    const Doubles a = c.bounded(c.mu(x));
    for (int i = 0; i < c.task.nu; ++i) plan.push_back(a[i] - constants.neutral[i]);
    Doubles input = x;
    input.insert(input.end(), a.begin(), a.end());
    c.advance(c.models[hd::draw_member(key.seed, key.solve, 0, t, c.members)], input, x);
  }
  return plan;
}

TEST(ProposePlans, AreThoseOfThePolicyInOpenLoop) {
  for_random_cases(8, as_it_is, [](Device& device, PolicyCase& c, Random& random, std::uint32_t k) {
    const SolveHeader key = {c.seed, k, 0};
    const std::size_t plan = static_cast<std::size_t>(c.config.planner.horizon + 1) * c.task.nu;
    const std::vector<float> given = random.normals(c.rows * plan);
    const Proposals found = propose(device, c, key, given);
    for (std::size_t i = 0; i < found.observation.size(); ++i)
      ASSERT_EQ(found.observation[i], c.states[i % c.states.size()]);
    EXPECT_TRUE(std::equal(given.begin(), given.end(), found.plan.begin()));
    Distance distance;
    for (int row = 0; row < c.rows; ++row) {
      const Doubles expected = proposed(c, key, row);
      for (std::size_t i = 0; i < plan; ++i)
        distance.add(found.plan[given.size() + row * plan + i], expected[i]);
    }
    EXPECT_LT(distance.relative(), 1e-5);
  });
}

}  // namespace
}  // namespace softmpc::cuda
