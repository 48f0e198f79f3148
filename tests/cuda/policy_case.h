// SPDX-License-Identifier: Apache-2.0
// A policy, members and critics of random shapes, on a device and as plain loops in double
// precision: what its rollouts propose, lose and teach.
#pragma once

#include <algorithm>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "core/random_models.h"
#include "device_arrays.h"
#include "plan/net.h"
#include "planner_inputs.h"
#include "softmpc/hd/philox.h"
#include "test_device.h"
#include "train/device_trainer.h"
#include "train_oracle.h"

namespace softmpc::cuda::testing {

using softmpc::testing::Random;
using softmpc::testing::random_weights;
using softmpc::testing::TestReward;
using softmpc::testing::TestRule;

/// One network with the constants around it.
struct ScaledNet {
  OracleNet oracle;
  NetNormalisation constants;
  Doubles operator()(Doubles input) const {
    for (std::size_t i = 0; i < input.size(); ++i)
      input[i] = (input[i] - constants.input_mean[i]) / constants.input_std[i];
    return oracle.forward(input).back();
  }
};

/// A policy, members and a critic with random shapes, on the device and in the oracle.
struct PolicyCase {
  Config config;
  TrainTask task;
  std::unique_ptr<TestReward> reward;
  int rows, layers, width, members;
  bool layer_norm;  // of members and critic
  std::uint64_t seed = 5;
  std::int64_t critic_steps;
  std::vector<float> states;  // [N, nx]
  std::unique_ptr<DeviceStack> policy, target, ensemble, critic, critic_targets;
  ScaledNet mu, q;
  std::vector<ScaledNet> models, target_q;

  PolicyCase(Random& random, int most_rows, int widest) {
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
    if (random.coin()) c.termination_cost = random.real(0, 3);
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
                                     int planned, std::vector<ScaledNet>& nets) {
    NetWeights w = random_weights(random, count, spec, 1.0, true);
    if (planned == 0) w.normalisation.output_std.assign(spec.outputs(), 1.0f);
    auto result =
        std::make_unique<DeviceStack>(device, count, spec, Number::f32, Operands::single, planned);
    result->upload(w);
    const auto flat = read(device, result->parameters(), w.parameters.size());
    const auto size = static_cast<std::ptrdiff_t>(spec.parameters());
    for (int e = 0; e < count; ++e) {
      ScaledNet net{{{spec.inputs}, spec.normalises(), {}, {}, {}}, w.normalisation};
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
    std::vector<ScaledNet> one;
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
      const ScaledNet& f = models[hd::draw_policy_member(
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
        for (const ScaledNet& net : target_q) y = std::min(y, net(joined)[0]);
      } else {
        const ScaledNet& f = models[hd::draw_policy_member(
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
      y = steps[t].goal =
          steps[t].reward + (steps[t].ends ? -config.planner.termination_cost : rest);
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
  static Doubles advance(const ScaledNet& f, const Doubles& input, Doubles& x) {
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
           (layer_norm ? ", LayerNorm" : "") + (task.outputs.termination ? ", learned end" : "") +
           ", imagined " + std::to_string(config.critic.imagined_steps);
  }
};

}  // namespace softmpc::cuda::testing
