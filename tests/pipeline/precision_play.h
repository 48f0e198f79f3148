// SPDX-License-Identifier: Apache-2.0
// Trained nets over the states of an episode: rollout weights and values of several ways to
// evaluate them against a float64 planner with the same noise.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "core/planner_oracle.h"
#include "core/random_models.h"
#include "softmpc/bundle.h"
#include "softmpc/task.h"

namespace softmpc::testing {

inline double median(std::vector<double> values) {
  std::ranges::nth_element(values, values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2));
  return values[values.size() / 2];
}

/// softmax(-S / lambda)
inline std::vector<double> softmax(const std::vector<double>& cost, double temperature) {
  const double least = *std::ranges::min_element(cost);
  std::vector<double> weight;
  for (double s : cost) weight.push_back(std::exp((least - s) / temperature));
  const double sum = std::accumulate(weight.begin(), weight.end(), 0.0);
  for (double& w : weight) w /= sum;
  return weight;
}

inline double total_variation(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t k = 0; k < a.size(); ++k) sum += std::abs(a[k] - b[k]);
  return sum / 2;
}

/// Of the checkout at hand: the test may have been carried to another machine.
inline std::string golden_folder() {
  const char* folder = std::getenv("SOFTMPC_GOLDEN_DIR");
  return folder != nullptr ? folder : SOFTMPC_GOLDEN_DIR;
}

/// A way to evaluate the nets, and what it came to.
struct Variant {
  std::string name;
  std::function<void(SolveKey, const PlanBatch&, PlanTrace&)> solve;
  std::vector<double> variation, value_error;  ///< per state
};

class PrecisionPlay {
 public:
  /// Nets of tests/golden/precision; `horizon` 0: the one they were trained with.
  explicit PrecisionPlay(const std::string& name, int horizon = 0)
      : bundle(load_bundle(golden_folder() + "/precision/" + name + ".safetensors")),
        task(find_task(bundle.task)),
        reward(make_rollout_reward(task, {})) {
    if (horizon > 0) bundle.planner.horizon = horizon;
    config = bundle.planner;
    shape = {bundle.nx, bundle.nu, bundle.action_low, bundle.action_high, 1};
    oracle_ = {config, shape, bundle.members, bundle.critics, {}, {}, {}, {}};
    oracle_.reward = [this](const oracle::Vector& x, const oracle::Vector& a,
                            const oracle::Vector& next) {
      const Eigen::VectorXf xf = x.cast<float>(), af = a.cast<float>(), nf = next.cast<float>();
      float r = 0;
      reward->reward({xf.data(), 1}, {af.data(), 1}, {nf.data(), 1}, 1, &r);
      return static_cast<double>(r);
    };
  }

  /// Plays with a float32 planner of the CPU and compares at every third of its states and plans.
  void play(int states, std::vector<Variant>& variants) {
    constexpr int kEvery = 3;
    const MlpDynamics dynamics(bundle.members, bundle.nx, bundle.nu, bundle.outputs);
    const MlpValue value(bundle.critics, bundle.nx, bundle.nu);
    const auto planner = make_planner(config, shape, {&dynamics, reward.get(), &value});
    const auto environment = task.make_environment({});
    std::vector<double> observation(bundle.nx);
    environment->reset(7, observation);
    Buffers buffers(1, bundle.nx, bundle.nu, config.horizon);
    planner->draw({1, 0}, kEpisodePlan, buffers.plan);
    Transition t;
    for (int step = 0; step < states * kEvery && !t.terminated; ++step) {
      const SolveKey key = {1, static_cast<std::uint32_t>(step)};
      std::ranges::copy(observation, buffers.observation.begin());
      planner->shift(buffers.plan);
      if (step % kEvery == 0) compare(key, buffers.observation, buffers.plan, variants);
      planner->solve(key, buffers.batch());
      t = environment->step(buffers.action, observation);
    }
    for (const Variant& v : variants)
      std::printf(
          "%s, horizon %d, value %.1f at the end, %-28s total variation: median %.2g, largest "
          "%.2g; "
          "value: median %.2g %%, largest %.2g %% (%zu states)\n",
          bundle.task.c_str(), config.horizon, buffers.value[0], v.name.c_str(),
          median(v.variation), *std::ranges::max_element(v.variation), 100 * median(v.value_error),
          100 * *std::ranges::max_element(v.value_error), v.variation.size());
  }

  Bundle bundle;
  const Task& task;
  std::unique_ptr<RewardModel> reward;
  PlannerConfig config;
  ProblemShape shape;

 private:
  void compare(SolveKey key, const std::vector<float>& x, const std::vector<float>& plan,
               std::vector<Variant>& variants) {
    const auto exact = oracle::solve(oracle_, {key, {0}, x, plan}).update.at(0).at(0);
    const std::vector<double> weights = softmax(exact.cost, config.temperature);
    for (Variant& v : variants) {
      Buffers buffers(1, bundle.nx, bundle.nu, config.horizon);
      buffers.observation = x;
      buffers.plan = plan;
      PlanTrace trace;
      v.solve(key, buffers.batch(), trace);
      const std::vector<double> cost(trace.cost.begin(), trace.cost.end());
      v.variation.push_back(total_variation(softmax(cost, config.temperature), weights));
      v.value_error.push_back(std::abs(buffers.value[0] / exact.value - 1));
    }
  }

  oracle::Problem oracle_;
};

}  // namespace softmpc::testing
