// SPDX-License-Identifier: Apache-2.0
// Tests that on lq, with the known model and a quadratic terminal value, the planner's action and
// soft value converge to the closed form, with an RMS error that falls as K^(-1/2).
//
// All actions of a rollout stacked to v in R^(H+1), the box ignored (it is 10 deviations wide):
//   J(v) = v' M v + 2 b' v + c,
//   Gaussian prior: V = lambda log E exp(-J/lambda) over v ~ N(u, Sigma), tilted by the action
//   cost; the product of Gaussians has precision L = Sigma^-1 + 2 M / lambda and, with
//   G = diag(gamma^t),  h = (I - G) Sigma^-1 u - 2 b / lambda,  mean L^-1 h = the refined plan,
//   V = lambda (h' L^-1 h / 2 - log det(Sigma L) / 2 - u' (I - G) Sigma^-1 u / 2) - c
//   (for gamma = 1 independent of u: V = lambda log E_{v ~ N(0, Sigma)} exp(-J/lambda)).
//   Uniform prior, gamma = 1: L = 2 M / lambda, h = -2 b / lambda,
//   V = lambda (h' L^-1 h / 2 + log((2 pi)^((H+1)/2) det L^(-1/2)) - (H+1) log width) - c.
#include <cmath>
#include <cstdio>
#include <numbers>
#include <vector>

#include <gtest/gtest.h>
#include <Eigen/Dense>

#include "softmpc/planner.h"
#include "softmpc/rules.h"
#include "tasks/lq/lq.h"

namespace softmpc {
namespace {

using tasks::Lq;
using Vector = Eigen::VectorXd;
using Matrix = Eigen::MatrixXd;

const Eigen::Matrix2d kA{{Lq::A[0][0], Lq::A[0][1]}, {Lq::A[1][0], Lq::A[1][1]}};
const Eigen::Vector2d kB{Lq::B[0], Lq::B[1]};
const Eigen::Matrix2d kQ{{Lq::Q[0], 0}, {0, Lq::Q[1]}};
const Eigen::Matrix2d kP{{3, 1}, {1, 2}};  // value after the horizon: -x' P x
const Eigen::Vector2d kStart{0.8, -0.5};

class LqDynamics final : public DynamicsModel {
 public:
  int members() const override { return 1; }
  std::size_t scratch_bytes(int) const override { return 0; }
  void step(int, ConstColumns x, ConstColumns a, int count, const StepResult& out,
            void*) const override {
    for (int j = 0; j < count; ++j) {
      float state[2] = {x[0][j], x[1][j]};
      Lq::advance<float>(state, a.lane(j));
      out.next[0][j] = state[0];
      out.next[1][j] = state[1];
    }
  }
};

/// Q(x, a) = r(x, a) - gamma y' P y, y = A x + B a.
class LqValue final : public TerminalValue {
 public:
  explicit LqValue(double gamma) : gamma_(gamma) {}
  std::size_t scratch_bytes(int) const override { return 0; }
  void evaluate(ConstColumns x, ConstColumns a, int count, float* out, void*) const override {
    for (int j = 0; j < count; ++j) {
      const Eigen::Vector2d state(x[0][j], x[1][j]);
      const Eigen::Vector2d y = kA * state + kB * a[0][j];
      const double q = state.dot(kQ * state) + Lq::R * a[0][j] * a[0][j] + gamma_ * y.dot(kP * y);
      out[j] = static_cast<float>(-q);
    }
  }

 private:
  double gamma_;
};

struct Case {
  const char* name;
  PlannerConfig config;
  Vector plan;  // u, where the samples are centred
};

Case make_case(const char* name, Prior prior, double gamma, double u) {
  Case c{name, {}, Vector::LinSpaced(5, u, -u)};
  c.config.horizon = 4;
  c.config.prior = prior;
  c.config.gamma = gamma;
  c.config.temperature = 0.3;
  c.config.variance = {0.4};
  if (prior == Prior::uniform) c.config.temperature = 0.1;
  return c;
}

struct ClosedForm {
  Vector plan;
  double value;
};

ClosedForm closed_form(const PlannerConfig& config, const Vector& u) {
  const Eigen::Index n = config.horizon + 1;
  const double lambda = config.temperature, variance = config.variance[0], gamma = config.gamma;
  Matrix m = Matrix::Zero(n, n), g = Matrix::Zero(n, n), map = Matrix::Zero(2, n);
  Vector b = Vector::Zero(n);
  Eigen::Vector2d free = kStart;  // x_t = free + map v
  double c = 0, discount = 1;
  const auto add = [&](const Eigen::Matrix2d& weight, double factor) {
    m += factor * map.transpose() * weight * map;
    b += factor * map.transpose() * weight * free;
    c += factor * free.dot(weight * free);
  };
  for (Eigen::Index t = 0; t < n; ++t, discount *= gamma) {
    add(kQ, discount);
    m(t, t) += discount * Lq::R;
    g(t, t) = discount;
    map = (kA * map).eval();
    map.col(t) += kB;
    free = (kA * free).eval();
  }
  add(kP, discount);
  const Matrix identity = Matrix::Identity(n, n);
  Matrix precision = 2 * m / lambda;
  Vector h = -2 * b / lambda;
  double constant = 0;
  if (config.prior == Prior::gaussian) {
    precision += identity / variance;
    h += (identity - g) * u / variance;
    constant = -0.5 * std::log((variance * precision).determinant()) -
               u.dot((identity - g) * u) / (2 * variance);
  } else {
    constant = 0.5 * static_cast<double>(n) * std::log(2 * std::numbers::pi) -
               0.5 * std::log(precision.determinant()) -
               static_cast<double>(n) * std::log(2.0 * Lq::bound);
  }
  const Vector mean = precision.ldlt().solve(h);
  return {mean, lambda * (h.dot(mean) / 2 + constant) - c};
}

struct Rms {
  double action, plan, value;
};

/// RMS errors of one plan update with K rollouts, over `seeds` seeds.
Rms errors(Case c, int rollouts, int seeds) {
  c.config.rollouts = rollouts;
  const ClosedForm exact = closed_form(c.config, c.plan);
  const LqDynamics dynamics;
  const RuleReward<Lq> reward;
  const LqValue value(c.config.gamma);
  const auto planner = make_planner(c.config, {Lq::nx, Lq::nu, {-Lq::bound}, {Lq::bound}, 1},
                                    {&dynamics, &reward, &value});
  Rms sum{};
  for (int seed = 0; seed < seeds; ++seed) {
    const float observation[2] = {static_cast<float>(kStart[0]), static_cast<float>(kStart[1])};
    std::vector<float> plan(c.plan.begin(), c.plan.end());
    float action;
    double v;
    PlanBatch batch;
    batch.problems = 1;
    batch.observation = observation;
    batch.plan = plan;
    batch.action = {&action, 1};
    batch.value = {&v, 1};
    planner->solve({static_cast<std::uint64_t>(seed), 1}, batch);
    sum.action += std::pow(action - exact.plan[0], 2) / seeds;
    sum.value += std::pow(v - exact.value, 2) / seeds;
    for (Eigen::Index t = 0; t < exact.plan.size(); ++t)
      sum.plan += std::pow(plan[static_cast<std::size_t>(t)] - exact.plan[t], 2) / seeds;
  }
  return {std::sqrt(sum.action), std::sqrt(sum.plan), std::sqrt(sum.value)};
}

/// Slope of log error over log K by least squares.
double slope(const std::vector<double>& log_k, const std::vector<double>& log_error) {
  const double n = static_cast<double>(log_k.size());
  double x = 0, y = 0, xx = 0, xy = 0;
  for (std::size_t i = 0; i < log_k.size(); ++i) {
    x += log_k[i] / n;
    y += log_error[i] / n;
    xx += log_k[i] * log_k[i] / n;
    xy += log_k[i] * log_error[i] / n;
  }
  return (xy - x * y) / (xx - x * x);
}

class LqConvergence : public ::testing::TestWithParam<int> {};

const Case kCases[] = {
    make_case("gaussian, gamma 1, u = 0", Prior::gaussian, 1, 0),
    make_case("gaussian, gamma 1, u not 0", Prior::gaussian, 1, -0.6),
    make_case("gaussian, gamma 0.9, u not 0", Prior::gaussian, 0.9, -0.6),
    make_case("uniform, gamma 1, u not 0", Prior::uniform, 1, -0.3),
};

TEST_P(LqConvergence, ErrorsFallWithTheRootOfTheRollouts) {
  const Case& c = kCases[GetParam()];
  std::vector<double> log_k, action, plan, value;
  Rms last{};
  std::printf("%s\n", c.name);
  for (int exponent = 6; exponent <= 16; exponent += 2) {
    last = errors(c, 1 << exponent, 48);
    std::printf("  K 2^%-2d  action %.5f  plan %.5f  value %.5f\n", exponent, last.action,
                last.plan, last.value);
    log_k.push_back(exponent * std::log(2.0));
    action.push_back(std::log(last.action));
    plan.push_back(std::log(last.plan));
    value.push_back(std::log(last.value));
  }
  for (const auto* error : {&action, &plan, &value}) {
    const double rate = slope(log_k, *error);
    EXPECT_GT(rate, -0.6);
    EXPECT_LT(rate, -0.4);
  }
  EXPECT_LT(last.action, 0.01);
  EXPECT_LT(last.plan, 0.02);
  EXPECT_LT(last.value, 0.005);
}

INSTANTIATE_TEST_SUITE_P(Cases, LqConvergence, ::testing::Range(0, 4));

// The stacked closed form against the backward recursion of the soft LQR (gamma = 1): a Gaussian
// prior adds lambda / (2 sigma^2) to the price of control, and each step costs an entropy.
TEST(LqClosedForm, EqualsTheRiccatiRecursion) {
  const Case& c = kCases[1];
  const double lambda = c.config.temperature, variance = c.config.variance[0];
  Eigen::Matrix2d p = kP;
  double entropy = 0, first_action = 0;
  for (int t = c.config.horizon; t >= 0; --t) {
    const double curvature = Lq::R + lambda / (2 * variance) + kB.dot(p * kB);
    const Eigen::RowVector2d gain = kB.transpose() * p * kA / curvature;
    entropy += 0.5 * lambda * std::log(2 * variance / lambda * curvature);
    first_action = -gain * kStart;
    p = (kQ + kA.transpose() * p * kA - curvature * gain.transpose() * gain).eval();
  }
  const ClosedForm exact = closed_form(c.config, c.plan);
  EXPECT_NEAR(exact.value, -kStart.dot(p * kStart) - entropy, 1e-12);
  EXPECT_NEAR(exact.plan[0], first_action, 1e-12);
}

// Iterating the update with many rollouts stays at the optimum.
TEST(LqClosedForm, FurtherIterationsStayThere) {
  Case c = kCases[1];
  c.config.iterations = 4;
  const Rms rms = errors(c, 1 << 14, 8);
  EXPECT_LT(rms.plan, 0.03);
  EXPECT_LT(rms.value, 0.01);
}

}  // namespace
}  // namespace softmpc
