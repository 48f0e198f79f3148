// SPDX-License-Identifier: Apache-2.0
// Tests covariance.cpp and what planners make of planner.covariance, beside the oracle's random
// problems: what is refused, the law of the noise, given noise, and a diagonal as a matrix.
#include "softmpc/hd/covariance.h"

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <Eigen/LU>

#include "random_models.h"
#include "softmpc/error.h"
#include "softmpc/planner.h"
#include "softmpc/thread_pool.h"

namespace softmpc {
namespace {

using Rows = std::vector<std::vector<double>>;
using testing::Buffers;
using testing::Random;
using testing::SmallModels;

const ProblemShape kShape = {3, 2, {-1, -1}, {1, 1}, 2};

std::string refusal(const Rows& covariance, const ProblemShape& shape = kShape) {
  PlannerConfig config;
  config.covariance = covariance;
  try {
    make_planner(config, shape, {});
  } catch (const UsageError& error) {
    return error.what();
  } catch (const Error& error) {  // past the settings: the models are missing
    return "taken";
  }
  return "no error";
}

TEST(CovarianceRules, EachIsASentence) {
  const std::string rule = "; nu x nu = 2 x 2 is needed";
  EXPECT_EQ(refusal({{1}}), "planner: covariance has 1 rows" + rule);
  EXPECT_EQ(refusal({{1, 0}, {0}}), "planner: covariance has 1 entries in row 1" + rule);
  EXPECT_EQ(refusal({{1, 0.5}, {0.4, 1}}),
            "planner: covariance[1][0] is 0.4 and [0][1] 0.5; it must be symmetric");
  EXPECT_EQ(refusal({{1, 0}, {0, 0}}),
            "planner: covariance[1][1] is 0; a variance must be at least 1e-09");
  EXPECT_EQ(refusal({{1, NAN}, {0, 1}}), "planner: covariance[0][1] is nan; it must be finite");
  EXPECT_EQ(refusal({{1, 1.5}, {1.5, 1}}),
            "planner: covariance is not positive definite: the least eigenvalue of its "
            "correlations is -0.5; at least 1e-06 is needed");
  EXPECT_NE(refusal({{0.1, 0.1}, {0.1, 0.1}}).find("not positive definite"), std::string::npos);
  // rounding of a computed matrix, and scales far apart
  EXPECT_EQ(refusal({{1, 0.5}, {0.5 + 1e-15, 1}}), "taken");
  EXPECT_EQ(refusal({{1e-8, 0.5}, {0.5, 1e8}}), "taken");
}

TEST(CovarianceRules, AFixedActionHasZeros) {
  const ProblemShape shape = {3, 3, {-1, 0.5f, -1}, {1, 0.5f, 1}, 1};
  const std::string rule = "; action 1 is fixed, so that its row and column must be 0";
  EXPECT_EQ(refusal({{1, 0, 0.5}, {0, 0, 0}, {0.5, 0, 1}}, shape), "taken");
  EXPECT_EQ(refusal({{1, 0, 0}, {0, 2, 0}, {0, 0, 1}}, shape),
            "planner: covariance[1][1] is 2" + rule);
  EXPECT_EQ(refusal({{1, 0, 0}, {0, 0, 0}, {0, 0.25, 1}}, shape),
            "planner: covariance[2][1] is 0.25" + rule);
}

struct CovarianceTest : ::testing::Test {
  Random random{7};
  SmallModels nets{random, 3, 6, 2, 8};  // two blocks of normals
  PlannerConfig config;
  CovarianceTest() {
    config.rollouts = 40;
    config.horizon = 3;
    config.temperature = 1;
    nets.low[2] = nets.high[2] = 0.5f;
  }

  std::unique_ptr<Planner> planner(ThreadPool* pool = nullptr) {
    return make_planner(config, nets.shape(2), nets.models(), {.pool = pool});
  }
  Buffers buffers() {
    Buffers b(2, nets.nx, nets.nu, config.horizon);
    b.observation = random.normals(b.observation.size(), 0.5);
    b.plan = random.normals(b.plan.size(), 0.2);
    return b;
  }
  /// Sigma without the fixed action.
  Eigen::MatrixXd sigma() const {
    Eigen::MatrixXd s(6, 6);
    for (int i = 0; i < 6; ++i)
      for (int j = 0; j < 6; ++j) s(i, j) = config.covariance[i][j];
    s(2, 2) = 1;
    return s;
  }
};

TEST_F(CovarianceTest, ADiagonalMatrixGivesThePlansOfVariance) {
  const std::vector<double> variance = {0.1, 0.02, 1, 0.3, 0.05, 0.2};
  Rows diagonal(6, std::vector<double>(6));
  for (std::size_t i = 0; i < 6; ++i) diagonal[i][i] = i == 2 ? 0 : variance[i];
  for (Prior prior : {Prior::gaussian, Prior::uniform})
    for (ControlMode mode : {ControlMode::plain, ControlMode::mean_residual}) {
      config.prior = prior;
      config.control_mode = mode;
      config.iterations = 2;
      Buffers expected = buffers(), got = expected;
      config.variance = variance, config.covariance = {};
      planner()->solve({1, 2}, expected.batch());
      config.variance = {0.7}, config.covariance = diagonal;  // the matrix rules
      planner()->solve({1, 2}, got.batch());
      for (std::size_t i = 0; i < got.plan.size(); ++i)
        EXPECT_NEAR(got.plan[i], expected.plan[i], 1e-4);
      for (std::size_t b = 0; b < 2; ++b) EXPECT_NEAR(got.value[b], expected.value[b], 1e-4);
    }
}

/// Compares the second moments of rows [n, 6] with Sigma, within five standard deviations.
void expect_law(const std::vector<float>& rows, const Rows& sigma) {
  const double n = static_cast<double>(rows.size()) / 6;
  for (std::size_t i = 0; i < 6; ++i)
    for (std::size_t j = 0; j < 6; ++j) {
      double sum = 0;
      for (std::size_t at = 0; at < rows.size(); at += 6)
        sum += static_cast<double>(rows[at + i]) * static_cast<double>(rows[at + j]);
      const double spread = sigma[i][i] * sigma[j][j] + sigma[i][j] * sigma[i][j];
      EXPECT_NEAR(sum / n, sigma[i][j], 5 * std::sqrt(spread / n)) << i << ", " << j;
    }
}

TEST_F(CovarianceTest, StartPlansHaveIt) {
  config.covariance = testing::random_covariance(random, nets.shape(1));
  const auto p = planner();
  std::vector<float> drawn, plan(p->plan_size());
  for (std::uint32_t episode = 0; episode < 20'000; ++episode) {
    p->draw({3, episode}, kEpisodePlan, plan);
    drawn.insert(drawn.end(), plan.begin(), plan.end());
  }
  expect_law(drawn, config.covariance);
}

/// Stands still, and notes the actions.
class Notes final : public DynamicsModel {
 public:
  int members() const override { return 1; }
  std::size_t scratch_bytes(int) const override { return 0; }
  void step(int, ConstColumns x, ConstColumns a, int count, const StepResult& out,
            void*) const override {
    for (int j = 0; j < count; ++j)
      for (int i = 0; i < 6; ++i) actions.push_back(a[i][j]);
    for (int i = 0; i < 3; ++i) std::copy_n(x[i], count, out.next[i]);
  }
  mutable std::vector<float> actions;
};

TEST_F(CovarianceTest, NoiseOfRolloutsHasIt) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  ProblemShape shape = nets.shape(1);
  shape.action_low.assign(6, -kInfinity);
  shape.action_high.assign(6, kInfinity);
  config.covariance = testing::random_covariance(random, shape);
  config.rollouts = 16'000;
  const Notes notes;
  Models models = nets.models();
  models.dynamics = &notes;
  Buffers b(1, 3, 6, config.horizon);
  make_planner(config, shape, models)->solve({5, 6}, b.batch());
  ASSERT_EQ(notes.actions.size(), 3u * 16'000 * 6);
  expect_law(notes.actions, config.covariance);
}

// J does not depend on Sigma, so that S of given noise under any two settings differ by their prior
// sums alone.
TEST_F(CovarianceTest, GivenNoiseIsChargedByTheFormula) {
  const Rows covariance = testing::random_covariance(random, nets.shape(1));
  const Buffers given = buffers();
  const std::size_t k = 40, steps = 4;
  std::vector<float> noise = random.normals(2 * k * steps * 6, 0.3);
  for (std::size_t i = 2; i < noise.size(); i += 6) noise[i] = 0;  // the fixed action
  const auto costs = [&] {
    Buffers b = given;
    PlanTrace trace;
    trace.noise = noise;
    planner()->solve({1, 2}, b.batch(), &trace);
    return trace.cost;
  };
  config.variance = {1e9};  // charges nothing
  const std::vector<float> j = costs();
  config.covariance = covariance;
  const Eigen::MatrixXd inverse = sigma().inverse();
  for (Prior prior : {Prior::gaussian, Prior::uniform}) {
    config.prior = prior;
    const std::vector<float> s = costs();
    for (std::size_t lane = 0; lane < 2 * k; ++lane) {
      double charge = 0, discount = 1;
      for (std::size_t t = 0; t < steps; ++t, discount *= config.gamma) {
        Eigen::VectorXd u(6), eps(6);
        for (int i = 0; i < 6; ++i) {
          u[i] = given.plan[(lane / k * steps + t) * 6 + i];
          eps[i] = noise[(lane * steps + t) * 6 + i];
        }
        charge += discount *
                  (prior == Prior::gaussian ? u.dot(inverse * eps) : -0.5 * eps.dot(inverse * eps));
      }
      EXPECT_NEAR(s[lane], j[lane] + charge, 1e-4 * (1 + std::abs(charge)));
    }
  }
}

TEST_F(CovarianceTest, BitsDoNotDependOnThreads) {
  config.covariance = testing::random_covariance(random, nets.shape(1));
  config.rollouts = 333;
  Buffers one = buffers(), three = one;
  planner()->solve({1, 2}, one.batch());
  ThreadPool pool(3);
  planner(&pool)->solve({1, 2}, three.batch());
  EXPECT_EQ(three.plan, one.plan);
  EXPECT_EQ(three.value, one.value);
}

}  // namespace
}  // namespace softmpc
