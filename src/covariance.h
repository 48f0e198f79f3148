// SPDX-License-Identifier: Apache-2.0
// A full action covariance: what is wrong with one, and what a planner computes with.
#pragma once

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
  double log_det() const { return log_det_; }                     ///< of the actions not fixed

 private:
  std::vector<float> factor_, inverse_;
  double log_det_ = 0;
};

}  // namespace softmpc
