// SPDX-License-Identifier: Apache-2.0
// A full action covariance: what is wrong with one, and what a planner computes with.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "softmpc/hd/covariance.h"
#include "softmpc/planner.h"

namespace softmpc {

/// What is wrong with planner.covariance for these actions, or nothing.
std::string covariance_fault(const PlannerConfig& config, const ProblemShape& shape);

/// Sigma = L L' and its inverse; empty where Sigma is diagonal.
class CovarianceFactors {
 public:
  CovarianceFactors() = default;
  /// Of a covariance without a fault.
  CovarianceFactors(const PlannerConfig& config, const ProblemShape& shape);

  bool full() const { return !factor_.empty(); }
  /// For the formulas of hd/; valid while this lives.
  hd::Covariance view(int nu) const { return {factor_.data(), inverse_.data(), nu}; }
  const std::vector<float>& factor() const { return factor_; }    ///< [nu, nu] L
  const std::vector<float>& inverse() const { return inverse_; }  ///< [nu, nu]
  /// log L_ii: half of what action i adds to log |Sigma|; 0 where Sigma is diagonal.
  double log_deviation(std::size_t i) const { return full() ? log_deviation_[i] : 0; }

 private:
  std::vector<float> factor_, inverse_;
  std::vector<double> log_deviation_;  // [nu]
};

}  // namespace softmpc
