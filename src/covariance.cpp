// SPDX-License-Identifier: Apache-2.0
// The only file of the core that needs Eigen; what links the core does not see it.
#include "covariance.h"

#include <cmath>
#include <cstdio>

#include <Eigen/Cholesky>
#include <Eigen/Eigenvalues>

namespace softmpc {
namespace {

using Matrix = Eigen::MatrixXd;

/// Least share of its variance that an action has to keep given those before it: a planner computes
/// with L and Sigma^-1 in float32.
constexpr double kLeastPivot = 1e-6;
constexpr double kLeastVariance = 1e-9;  // as of planner.variance
constexpr double kAsymmetry = 1e-9;  // in standard deviations; of rounding where it was computed

std::string text(double x) {
  char number[32];
  std::snprintf(number, sizeof number, "%g", x);
  return number;
}

std::string entry(int i, int j, double value) {
  return "covariance[" + std::to_string(i) + "][" + std::to_string(j) + "] is " + text(value);
}

bool fixed(const ProblemShape& shape, int i) {
  return shape.action_low[static_cast<std::size_t>(i)] ==
         shape.action_high[static_cast<std::size_t>(i)];
}

/// The actions that are not fixed.
std::vector<int> free_actions(const ProblemShape& shape) {
  std::vector<int> free;
  for (int i = 0; i < shape.nu; ++i)
    if (!fixed(shape, i)) free.push_back(i);
  return free;
}

/// Sigma of the actions `free` is D C D: standard deviations, and correlations, which have one
/// scale.
struct Correlations {
  Eigen::VectorXd deviation;
  Matrix c;
  Correlations(const PlannerConfig& config, const std::vector<int>& free) {
    const auto n = static_cast<Eigen::Index>(free.size());
    deviation.resize(n);
    c.resize(n, n);
    const auto sigma = [&](Eigen::Index i, Eigen::Index j) {
      return config.covariance[static_cast<std::size_t>(free[static_cast<std::size_t>(i)])]
                              [static_cast<std::size_t>(free[static_cast<std::size_t>(j)])];
    };
    for (Eigen::Index i = 0; i < n; ++i) deviation[i] = std::sqrt(sigma(i, i));
    for (Eigen::Index i = 0; i < n; ++i)
      for (Eigen::Index j = 0; j < n; ++j) c(i, j) = sigma(i, j) / (deviation[i] * deviation[j]);
  }
};

/// What is wrong with single entries of an nu x nu matrix.
std::string entry_fault(const PlannerConfig& config, const ProblemShape& shape) {
  const auto& rows = config.covariance;
  const auto at = [&](int i, int j) {
    return rows[static_cast<std::size_t>(i)][static_cast<std::size_t>(j)];
  };
  for (int i = 0; i < shape.nu; ++i)
    for (int j = 0; j < shape.nu; ++j) {
      if (!std::isfinite(at(i, j))) return entry(i, j, at(i, j)) + "; it must be finite";
      const int of_fixed = fixed(shape, i) ? i : j;
      if (fixed(shape, of_fixed) && at(i, j) != 0)
        return entry(i, j, at(i, j)) + "; action " + std::to_string(of_fixed) +
               " is fixed, so that its row and column must be 0";
    }
  for (int i = 0; i < shape.nu; ++i)
    if (!fixed(shape, i) && !(at(i, i) >= kLeastVariance))
      return entry(i, i, at(i, i)) + "; a variance must be at least " + text(kLeastVariance);
  for (int i = 0; i < shape.nu; ++i)
    for (int j = 0; j < i; ++j)
      if (std::abs(at(i, j) - at(j, i)) > kAsymmetry * std::sqrt(at(i, i) * at(j, j)))
        return entry(i, j, at(i, j)) + " and [" + std::to_string(j) + "][" + std::to_string(i) +
               "] " + text(at(j, i)) + "; it must be symmetric";
  return {};
}

}  // namespace

std::string covariance_fault(const PlannerConfig& config, const ProblemShape& shape) {
  if (config.covariance.empty()) return {};
  const auto nu = static_cast<std::size_t>(shape.nu);
  const std::string rule =
      "; nu x nu = " + std::to_string(nu) + " x " + std::to_string(nu) + " is needed";
  if (config.covariance.size() != nu)
    return "covariance has " + std::to_string(config.covariance.size()) + " rows" + rule;
  for (std::size_t i = 0; i < nu; ++i)
    if (config.covariance[i].size() != nu)
      return "covariance has " + std::to_string(config.covariance[i].size()) + " entries in row " +
             std::to_string(i) + rule;
  if (std::string fault = entry_fault(config, shape); !fault.empty()) return fault;
  const std::vector<int> free = free_actions(shape);
  if (free.empty()) return {};
  const Matrix c = Correlations(config, free).c;
  const Eigen::LLT<Matrix> llt(c);
  if (llt.info() == Eigen::Success) {
    const double least = llt.matrixLLT().diagonal().minCoeff();
    if (least * least >= kLeastPivot) return {};
  }
  const Eigen::SelfAdjointEigenSolver<Matrix> spectrum(c, Eigen::EigenvaluesOnly);
  return "covariance is not positive definite: the least eigenvalue of its correlations is " +
         text(spectrum.eigenvalues().minCoeff()) + "; at least " + text(kLeastPivot) + " is needed";
}

CovarianceFactors::CovarianceFactors(const PlannerConfig& config, const ProblemShape& shape) {
  if (config.covariance.empty()) return;
  const auto nu = static_cast<std::size_t>(shape.nu);
  factor_.resize(nu * nu);
  inverse_.resize(nu * nu);
  log_deviation_.resize(nu);
  const std::vector<int> free = free_actions(shape);
  if (free.empty()) return;
  const Correlations sigma(config, free);
  const Eigen::LLT<Matrix> llt(sigma.c);
  const auto n = static_cast<Eigen::Index>(free.size());
  // L = D L_C, Sigma^-1 = D^-1 C^-1 D^-1
  const Matrix factor = sigma.deviation.asDiagonal() * Matrix(llt.matrixL());
  const Matrix inverse = llt.solve(Matrix::Identity(n, n));
  for (Eigen::Index i = 0; i < n; ++i) {
    const auto row = static_cast<std::size_t>(free[static_cast<std::size_t>(i)]);
    log_deviation_[row] = std::log(factor(i, i));
    for (Eigen::Index j = 0; j < n; ++j) {
      const std::size_t at = row * nu + static_cast<std::size_t>(free[static_cast<std::size_t>(j)]);
      factor_[at] = static_cast<float>(factor(i, j));
      inverse_[at] = static_cast<float>(inverse(i, j) / (sigma.deviation[i] * sigma.deviation[j]));
    }
  }
}

}  // namespace softmpc
