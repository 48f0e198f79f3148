// SPDX-License-Identifier: Apache-2.0
// What bfloat16 operands cost, over the states of an episode and trained nets: rollout weights and
// value against a float64 planner with the same noise. The budget, in the median over states: total
// variation of the weights at most 0.05, value within 0.1 %. The critic stays in float32: what it
// would cost to narrow it too is printed beside.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "core/planner_oracle.h"
#include "core/random_models.h"
#include "cpu/packed_mlp.h"
#include "softmpc/bundle.h"
#include "softmpc/task.h"

namespace softmpc {
namespace {

constexpr int kStates = 40, kEvery = 3;  // every third state of the episode's first steps

double median(std::vector<double> values) {
  std::ranges::nth_element(values, values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2));
  return values[values.size() / 2];
}

/// softmax(-S / lambda)
std::vector<double> softmax(const std::vector<double>& cost, double temperature) {
  const double least = *std::ranges::min_element(cost);
  std::vector<double> weight;
  for (double s : cost) weight.push_back(std::exp((least - s) / temperature));
  const double sum = std::accumulate(weight.begin(), weight.end(), 0.0);
  for (double& w : weight) w /= sum;
  return weight;
}

double total_variation(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t k = 0; k < a.size(); ++k) sum += std::abs(a[k] - b[k]);
  return sum / 2;
}

/// A way to evaluate the same nets, and what it came to.
struct Variant {
  const char* name;
  std::unique_ptr<MlpDynamics> dynamics;
  std::unique_ptr<MlpValue> value;
  std::vector<double> variation, value_error;  // per state

  Variant(const char* name_, const Bundle& b, Precision members, Precision critic)
      : name(name_),
        dynamics(std::make_unique<MlpDynamics>(b.members, b.nx, b.nu, b.outputs, members)),
        value(std::make_unique<MlpValue>(
            std::make_shared<PackedMlp>(b.critics, cpu::Activation::none, 0, critic), b.nx, b.nu,
            0)) {}
};

class PrecisionTest : public ::testing::TestWithParam<const char*> {
 protected:
  PrecisionTest()
      : bundle_(load_bundle(std::string(SOFTMPC_GOLDEN_DIR) + "/precision/" + GetParam() +
                            ".safetensors")),
        task_(find_task(bundle_.task)),
        reward_(make_rollout_reward(task_, {})),
        shape_{bundle_.nx, bundle_.nu, bundle_.action_low, bundle_.action_high, 1},
        planner_(bundle_.config.planner, shape_) {
    variants_.emplace_back("float32", bundle_, Precision::float32, Precision::float32);
    variants_.emplace_back("bfloat16 members", bundle_, Precision::bfloat16, Precision::float32);
    variants_.emplace_back("bfloat16 members and critic", bundle_, Precision::bfloat16,
                           Precision::bfloat16);
    oracle_ = {bundle_.config.planner, shape_, bundle_.members, bundle_.critics, {}, {}, {}, {}};
    oracle_.reward = [this](const oracle::Vector& x, const oracle::Vector& a,
                            const oracle::Vector& next) {
      const Eigen::VectorXf xf = x.cast<float>(), af = a.cast<float>(), nf = next.cast<float>();
      float r = 0;
      reward_->reward({xf.data(), 1}, {af.data(), 1}, {nf.data(), 1}, 1, &r);
      return static_cast<double>(r);
    };
  }

  void compare(SolveKey key, const std::vector<float>& x, const std::vector<float>& plan) {
    const auto exact = oracle::solve(oracle_, {key, {0}, x, plan}).update.at(0).at(0);
    const double temperature = bundle_.config.planner.temperature;
    const std::vector<double> weights = softmax(exact.cost, temperature);
    for (Variant& v : variants_) {
      testing::Buffers buffers(1, bundle_.nx, bundle_.nu, bundle_.config.planner.horizon);
      buffers.observation = x;
      buffers.plan = plan;
      PlanTrace trace;
      planner_.solve({v.dynamics.get(), reward_.get(), v.value.get(), nullptr}, key,
                     buffers.batch(), &trace);
      const std::vector<double> cost(trace.cost.begin(), trace.cost.end());
      v.variation.push_back(total_variation(softmax(cost, temperature), weights));
      v.value_error.push_back(std::abs(buffers.value[0] / exact.value - 1));
    }
    if (variants_[0].variation.size() == 1)
      std::printf("%s, value of the first state %.1f\n", GetParam(), exact.value);
  }

  /// Plays with the float32 planner and compares at some of its states and plans.
  void play() {
    const auto environment = task_.make_environment({});
    std::vector<double> observation(bundle_.nx);
    environment->reset(7, observation);
    testing::Buffers buffers(1, bundle_.nx, bundle_.nu, bundle_.config.planner.horizon);
    planner_.draw({1, 0}, kEpisodePlan, buffers.plan);
    Transition t;
    for (std::uint32_t step = 0; step < kStates * kEvery && !t.terminated; ++step) {
      std::ranges::copy(observation, buffers.observation.begin());
      planner_.shift(buffers.plan);
      if (step % kEvery == 0) compare({1, step}, buffers.observation, buffers.plan);
      planner_.solve(
          {variants_[0].dynamics.get(), reward_.get(), variants_[0].value.get(), nullptr},
          {1, step}, buffers.batch());
      t = environment->step(buffers.action, observation);
    }
    for (const Variant& v : variants_)
      std::printf(
          "%-28s total variation: median %.2g, largest %.2g; value: median %.2g %%, "
          "largest %.2g %% (%zu states)\n",
          v.name, median(v.variation), *std::ranges::max_element(v.variation),
          100 * median(v.value_error), 100 * *std::ranges::max_element(v.value_error),
          v.variation.size());
  }

  Bundle bundle_;
  const Task& task_;
  std::unique_ptr<RewardModel> reward_;
  ProblemShape shape_;
  Planner planner_;
  std::vector<Variant> variants_;
  oracle::Problem oracle_;
};

TEST_P(PrecisionTest, Bfloat16StaysInItsBudget) {
  play();
  const Variant &exact = variants_[0], &narrow = variants_[1];
  EXPECT_LT(median(exact.variation), 1e-3);
  EXPECT_LT(median(narrow.variation), 0.05);
  EXPECT_LT(median(narrow.value_error), 1e-3);
}

INSTANTIATE_TEST_SUITE_P(Trained, PrecisionTest,
                         ::testing::Values("Hopper", "InvertedDoublePendulum"));

}  // namespace
}  // namespace softmpc
