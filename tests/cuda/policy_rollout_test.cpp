// SPDX-License-Identifier: Apache-2.0
// Tests for kernels/policy_rollout.cuh and cuda/train/policy_trainer.cpp on the emulated device:
// proposed plans, what critics learn of rollouts and the policy's gradient against rollouts in
// double precision, the gradient by finite differences of the loss, for random shapes.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "core/random_models.h"
#include "device_arrays.h"
#include "kernels/train_memory.h"
#include "planner_inputs.h"
#include "softmpc/hd/philox.h"
#include "test_device.h"
#include "train/policy_trainer.h"
#include "train_oracle.h"

namespace softmpc::cuda {
namespace {

using softmpc::testing::Random;
using softmpc::testing::random_weights;
using softmpc::testing::TestReward;
using softmpc::testing::TestRule;
using testing::Doubles;
using testing::OracleNet;
using testing::read;
using testing::test_device;
using testing::upload;

/// One network with the constants around it.
struct Net {
  OracleNet oracle;
  NetNormalisation constants;
  Doubles operator()(Doubles input) const {
    for (std::size_t i = 0; i < input.size(); ++i)
      input[i] = (input[i] - constants.input_mean[i]) / constants.input_std[i];
    return oracle.forward(input).back();
  }
};

/// A policy, members and a critic with random shapes, on the device and in the oracle.
struct Case {
  Config config;
  TrainTask task;
  std::unique_ptr<TestReward> reward;
  int rows, layers, width, members;
  bool layer_norm;  // of members and critic
  std::uint64_t seed = 5;
  std::int64_t critic_steps;
  std::vector<float> states;  // [N, nx]
  std::unique_ptr<DeviceStack> policy, target, ensemble, critic, critic_targets;
  Net mu, q;
  std::vector<Net> models, target_q;

  Case(Random& random, int most_rows, int widest) {
    task.nx = random.whole(1, 6);
    task.nu = random.whole(1, 4);
    for (int i = 0; i < task.nu; ++i) {
      task.action_low.push_back(static_cast<float>(random.real(-2, -0.5)));
      task.action_high.push_back(static_cast<float>(random.real(0.5, 2)));
    }
    reward = std::make_unique<TestReward>(task.nx, task.nu, true);
    task.reward = reward.get();
    PlannerConfig& c = config.planner;
    c.horizon = random.whole(1, 4);
    c.temperature = random.real(0.2, 2);
    c.gamma = 0.9;
    c.prior = random.whole(0, 3) ? Prior::gaussian : Prior::uniform;
    c.handle_terminations = random.coin();
    task.outputs.reward = true;
    task.outputs.termination = c.handle_terminations && random.coin();
    const ProblemShape s = shape(1);
    if (random.coin()) c.covariance = softmpc::testing::random_covariance(random, s);
    config.policy.objective =
        random.whole(0, 4) ? PolicyObjective::rollout : PolicyObjective::critic;
    rows = random.whole(1, most_rows);
    config.critic.batch_size = rows;
    layers = random.whole(1, 3);
    width = random.whole(1, widest);
    members = random.whole(1, 4);
    layer_norm = random.coin();
    critic_steps = random.whole(0, 1000);
    states = random.normals(static_cast<std::size_t>(rows) * task.nx, 0.5);
  }

  ProblemShape shape(int problems) const {
    return {task.nx, task.nu, task.action_low, task.action_high, problems};
  }
  int horizon() const {
    return config.policy.objective == PolicyObjective::rollout ? config.planner.horizon : 0;
  }

  /// A stack on the device, its nets in `nets`.
  std::unique_ptr<DeviceStack> stack(Device& device, Random& random, int count, const NetSpec& spec,
                                     int planned, std::vector<Net>& nets) {
    NetWeights w = random_weights(random, count, spec, 1.0, true);
    if (planned == 0) w.normalisation.output_std.assign(spec.outputs(), 1.0f);
    auto result =
        std::make_unique<DeviceStack>(device, count, spec, Number::f32, Operands::single, planned);
    result->upload(w);
    const auto flat = read(device, result->parameters(), w.parameters.size());
    const auto size = static_cast<std::ptrdiff_t>(spec.parameters());
    for (int e = 0; e < count; ++e) {
      Net net{{{spec.inputs}, spec.normalises(), {}, {}, {}}, w.normalisation};
      for (int l = 0; l < spec.depth(); ++l) net.oracle.sizes.push_back(spec.layers[l].width);
      net.oracle.parameters.assign(flat.begin() + e * size, flat.begin() + (e + 1) * size);
      nets.push_back(net);
    }
    return result;
  }

  void create(Device& device, Random& random) {
    const int nx = task.nx, nu = task.nu, planned = nx + 1 + task.outputs.termination;
    const int variances = random.coin() ? nx + 1 : 0;
    const int least = layer_norm ? 8 : 1;  // of few units the variance may be next to nothing
    std::vector<Net> one;
    policy = stack(device, random, 1, NetSpec::mlp(nx, width, layers, nu), 0, one);
    target = stack(device, random, 1, policy->spec(), 0, one);
    critic = stack(device, random, 1,
                   NetSpec::mlp(nx + nu, random.whole(least, 40), 2, 1, layer_norm), 0, one);
    critic_targets = stack(device, random, random.whole(1, 3), critic->spec(), 0, target_q);
    mu = one[0];
    q = one[2];
    ensemble = stack(device, random, members,
                     NetSpec::mlp(nx + nu, random.whole(least, 40), random.whole(1, 3),
                                  planned + variances, layer_norm),
                     planned, models);
  }

  /// One row's part of the loss where z_{t,i} of mu is `delta` more than the net says; x and u of
  /// each step on request; `margin` is how near it came to another end.
  double loss(int row, int t_changed, int i_changed, double delta, double& margin,
              Doubles* inputs = nullptr) const {
    const int nx = task.nx;
    Doubles x(states.begin() + row * nx, states.begin() + (row + 1) * nx);
    double alive = 1, sum = 0, discount = 1;
    for (int t = 0; t <= horizon(); ++t, discount *= config.planner.gamma) {
      for (int i = 0; inputs && i < nx; ++i)
        inputs->push_back((x[i] - mu.constants.input_mean[i]) / mu.constants.input_std[i] * alive);
      Doubles z = mu(x);
      if (t == t_changed) z[i_changed] += delta;
      const Doubles a = bounded(z);
      if (horizon() > 0) sum -= discount * alive * price(a);
      Doubles input = x;
      input.insert(input.end(), a.begin(), a.end());
      if (t == horizon()) return sum + discount * alive * q(input)[0];
      const Net& f = models[hd::draw_policy_member(
          seed, static_cast<std::uint32_t>(critic_steps + 1), t, members)];
      const Doubles y = advance(f, input, x);
      const double r = f.constants.output_mean[nx] + f.constants.output_std[nx] * y[nx];
      sum += discount * alive * r;
      if (!config.planner.handle_terminations) continue;
      const double end = task.outputs.termination ? y[nx + 1] : x[0] - TestRule::kEnd;
      margin = std::min(margin, std::abs(end));
      if (end > 0) alive = 0;
    }
    return 0;
  }

  /// One step of one row's rollout: the critics' input, what they are to say, whether it goes on.
  struct Step {
    Doubles input;
    double goal, charged, reward;
    bool ends, alive;
  };
  std::vector<Step> imagine(int row, double& margin) const {
    const int nx = task.nx;
    Doubles x(states.begin() + row * nx, states.begin() + (row + 1) * nx);
    std::vector<Step> steps;
    bool alive = true;
    double y = std::numeric_limits<double>::infinity();
    for (int t = 0; t <= horizon(); ++t) {
      const Doubles a = bounded(mu(x));
      Doubles joined = x;
      joined.insert(joined.end(), a.begin(), a.end());
      Step step = {joined, 0, price(a), 0, false, alive};
      for (std::size_t i = 0; i < joined.size(); ++i)
        step.input[i] = (joined[i] - q.constants.input_mean[i]) / q.constants.input_std[i];
      if (t == horizon()) {
        for (const Net& net : target_q) y = std::min(y, net(joined)[0]);
      } else {
        const Net& f = models[hd::draw_policy_member(
            seed, static_cast<std::uint32_t>(critic_steps + 1), t, members)];
        const Doubles out = advance(f, joined, x);
        step.reward = f.constants.output_mean[nx] + f.constants.output_std[nx] * out[nx];
        const double end = task.outputs.termination ? out[nx + 1] : x[0] - TestRule::kEnd;
        if (config.planner.handle_terminations) {
          margin = std::min(margin, std::abs(end));
          step.ends = end > 0;
          alive = alive && !step.ends;
        }
      }
      steps.push_back(step);
    }
    for (int t = horizon() - 1; t >= 0; --t) {
      const double rest = config.planner.gamma * (y - steps[t + 1].charged);
      y = steps[t].goal = steps[t].reward + (steps[t].ends ? 0 : rest);
    }
    return steps;
  }

  // mid + half-range tanh(z)
  Doubles bounded(Doubles z) const {
    for (int i = 0; i < task.nu; ++i) {
      const double low = task.action_low[i], high = task.action_high[i];
      z[i] = (high + low) / 2 + (high - low) / 2 * std::tanh(z[i]);
    }
    return z;
  }

  /// Moves x on; what the member says.
  static Doubles advance(const Net& f, const Doubles& input, Doubles& x) {
    Doubles y = f(input);
    for (std::size_t i = 0; i < x.size(); ++i)
      x[i] += f.constants.output_mean[i] + f.constants.output_std[i] * y[i];
    return y;
  }

  // lambda/2 v' Sigma^-1 v
  double price(const Doubles& a) const {
    if (config.planner.prior != Prior::gaussian) return 0;
    const PlannerConstants c(config.planner, shape(1));
    double sum = 0;
    for (int i = 0; i < task.nu; ++i)
      for (int j = 0; j < task.nu; ++j) {
        const double s = c.covariance.full() ? c.covariance.inverse()[i * task.nu + j]
                                             : (i == j ? c.inverse_variance[i] : 0.0f);
        sum += (a[i] - c.neutral[i]) * s * (a[j] - c.neutral[j]);
      }
    return config.planner.temperature / 2 * sum;
  }

  std::string text() const {
    return softmpc::testing::describe(config.planner, shape(rows), rows) + ", policy " +
           std::to_string(layers) + " x " + std::to_string(width) + ", members " +
           std::to_string(members) + (horizon() ? "" : ", critic's objective") +
           (layer_norm ? ", LayerNorm" : "") + (task.outputs.termination ? ", learned end" : "");
  }
};

struct Gradient {
  std::vector<float> input, slope;  // [nx, (H+1) R], [nu, (H+1) R]
  int stride;
};

PolicyGradientNets nets_of(const Case& c) {
  return {c.policy->flat(),         c.ensemble->flat(), c.critic->flat(),
          c.critic_targets->flat(), c.members,          c.critic_targets->stack()};
}

std::unique_ptr<Memory> counters_of(Device& device, const Case& c) {
  TrainCounters counters{};
  counters.seed = c.seed;
  counters.critic_steps = c.critic_steps;
  return upload(device, std::vector{counters});
}

Gradient gradient_of(Device& device, const Case& c) {
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

void expect_gradient(Device& device, const Case& c) {
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

TEST(PolicyGradient, IsThatOfTheLoss) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Random random(seed);
  const auto device = test_device();
  for (int i = 0; i < 16; ++i) {
    Case c(random, 70, 50);
    SCOPED_TRACE(c.text());
    c.create(*device, random);
    expect_gradient(*device, c);
  }
}

TEST(PolicyGradient, WideLayersTakeSeveralTiles) {
  Random random(3);
  const auto device = test_device();
  Case c(random, 3, 20);
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
  Case c(random, 20, 20);
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
    Case c(random, 70, 40);
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

Imagined imagine(Device& device, const Case& c) {
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

void expect_imagined(Device& device, const Case& c) {
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
      const std::vector<Case::Step> steps = c.imagine(row, margin);
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
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Random random(seed);
  const auto device = test_device();
  for (int i = 0; i < 16; ++i) {
    Case c(random, 70, 50);
    c.config.policy.objective = PolicyObjective::rollout;
    c.config.critic.imagined_steps = random.whole(1, c.config.planner.horizon);
    SCOPED_TRACE(c.text() + ", imagined " + std::to_string(c.config.critic.imagined_steps));
    c.create(*device, random);
    expect_imagined(*device, c);
  }
}

/// Observations and start plans of both parts.
struct Proposals {
  std::vector<float> observation, plan;
};

Proposals propose(Device& device, const Case& c, SolveHeader key, const std::vector<float>& given) {
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
Doubles proposed(const Case& c, SolveHeader key, int row) {
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
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Random random(seed);
  const auto device = test_device();
  for (std::uint32_t k = 0; k < 8; ++k) {
    Case c(random, 70, 50);
    SCOPED_TRACE(c.text());
    c.create(*device, random);
    const SolveHeader key = {c.seed, k, 0};
    const std::size_t plan = static_cast<std::size_t>(c.config.planner.horizon + 1) * c.task.nu;
    const std::vector<float> given = random.normals(c.rows * plan);
    const Proposals found = propose(*device, c, key, given);
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
  }
}

}  // namespace
}  // namespace softmpc::cuda
