// SPDX-License-Identifier: Apache-2.0
// How close a float32 planner comes to the oracle.
#pragma once

#include <cmath>
#include <string>

#include <gtest/gtest.h>

namespace softmpc::oracle {

/// Tolerances, absolute in units of 1 + |oracle|: float32 accumulates J over up to 8 steps and the
/// weights divide its error by lambda >= 0.3.
inline constexpr double kCostTolerance = 2e-5;
inline constexpr double kValueTolerance = 4e-5;
inline constexpr double kPlanTolerance = 2e-4;

inline void expect_close(double got, double expected, double tolerance, const std::string& what) {
  EXPECT_NEAR(got, expected, tolerance * (1 + std::abs(expected))) << what;
}

}  // namespace softmpc::oracle
