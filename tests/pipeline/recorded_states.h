// SPDX-License-Identifier: Apache-2.0
// States and plans of an episode under trained nets, with the float64 planner's weights and values
// there: what narrower arithmetic is held against.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "core/planner_oracle.h"
#include "core/random_models.h"
#include "softmpc/bundle.h"
#include "softmpc/network.h"
#include "softmpc/task.h"

namespace softmpc::testing {

inline double median(std::vector<double> values) {
  std::ranges::nth_element(values, values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2));
  return values[values.size() / 2];
}

/// softmax(-S / lambda)
template <class Costs>
std::vector<double> softmax(const Costs& cost, double temperature) {
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

/// The golden files, also on a machine that the test was carried to.
inline std::string golden_folder() {
  const char* folder = std::getenv("SOFTMPC_GOLDEN_DIR");
  return folder != nullptr ? folder : SOFTMPC_GOLDEN_DIR;
}

/// One controller of tests/golden/precision, played in its task by the float32 planner.
class RecordedStates {
 public:
  /// Horizon 0: the bundle's own.
  explicit RecordedStates(const std::string& name, int horizon = 0)
      : bundle(load_bundle(golden_folder() + "/precision/" + name + ".safetensors")),
        task_(find_task(bundle.task)),
        reward(make_rollout_reward(task_, {})),
        shape{bundle.nx, bundle.nu, bundle.action_low, bundle.action_high, 1} {
    if (horizon > 0) bundle.config.planner.horizon = horizon;
    oracle_ = {config(), shape, bundle.members, bundle.critics, {}, {}, {}, {}};
    oracle_.reward = [this](const oracle::Vector& x, const oracle::Vector& a,
                            const oracle::Vector& next) {
      const Eigen::VectorXf xf = x.cast<float>(), af = a.cast<float>(), nf = next.cast<float>();
      float r = 0;
      reward->reward({xf.data(), 1}, {af.data(), 1}, {nf.data(), 1}, 1, &r);
      return static_cast<double>(r);
    };
  }
  RecordedStates(const RecordedStates&) = delete;

  const PlannerConfig& config() const { return bundle.config.planner; }
  Buffers buffers(const std::vector<float>& x, const std::vector<float>& plan) const {
    Buffers result(1, bundle.nx, bundle.nu, config().horizon);
    result.observation = x;
    result.plan = plan;
    return result;
  }

  using Visit = std::function<void(SolveKey, const std::vector<float>& x,
                                   const std::vector<float>& plan, const oracle::Update& exact)>;
  /// `states` of the episode's steps, every `every`-th from the first.
  void play(int states, int every, const Visit& visit) const {
    const MlpDynamics dynamics(bundle.members, bundle.nx, bundle.nu, bundle.outputs,
                               Precision::float32);
    const MlpValue value(bundle.critics, bundle.nx, bundle.nu);
    Planner planner(config(), shape);
    const auto environment = task_.make_environment({});
    std::vector<double> observation(bundle.nx);
    environment->reset(7, observation);
    Buffers b(1, bundle.nx, bundle.nu, config().horizon);
    planner.draw({1, 0}, kEpisodePlan, b.plan);
    Transition t;
    for (std::uint32_t step = 0; step < static_cast<std::uint32_t>(states * every) && !t.terminated;
         ++step) {
      std::ranges::copy(observation, b.observation.begin());
      planner.shift(b.plan);
      const SolveKey key = {1, step};
      if (step % static_cast<std::uint32_t>(every) == 0)
        visit(key, b.observation, b.plan,
              oracle::solve(oracle_, {key, {0}, b.observation, b.plan}).update.at(0).at(0));
      planner.solve({&dynamics, reward.get(), &value, nullptr}, key, b.batch());
      t = environment->step(b.action, observation);
    }
  }

  Bundle bundle;

 private:
  const Task& task_;

 public:
  std::unique_ptr<RewardModel> reward;
  ProblemShape shape;

 private:
  oracle::Problem oracle_;
};

/// What a narrower arithmetic came to, per state.
struct PrecisionErrors {
  std::string name;
  std::vector<double> variation, value;

  template <class Costs>
  void add(const Costs& cost, double found_value, const oracle::Update& exact, double temperature) {
    variation.push_back(
        total_variation(softmax(cost, temperature), softmax(exact.cost, temperature)));
    value.push_back(std::abs(found_value / exact.value - 1));
  }
  void print() const {
    std::printf(
        "%-28s total variation: median %.2g, largest %.2g; value: median %.2g %%, largest %.2g %% "
        "(%zu states)\n",
        name.c_str(), median(variation), *std::ranges::max_element(variation), 100 * median(value),
        100 * *std::ranges::max_element(value), variation.size());
  }
};

}  // namespace softmpc::testing
