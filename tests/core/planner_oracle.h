// SPDX-License-Identifier: Apache-2.0
// A slow, plain double-precision planner written straight from DESIGN section 1, to test the fast
// one. It shares the random bits (hd/philox.h) and nothing else.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include <Eigen/Core>

#include "softmpc/network.h"
#include "softmpc/planner.h"

namespace softmpc::oracle {

using Vector = Eigen::VectorXd;

/// output_mean + output_std * net((input - input_mean) / input_std), layer by layer as the spec
/// says.
Vector evaluate_mlp(const NetWeights& weights, int member, const Vector& input);

/// Everything that defines a solve.
struct Problem {
  PlannerConfig config;
  ProblemShape shape;
  NetWeights members, critic;
  MemberOutputs outputs;
  std::optional<NetWeights> policy;
  /// r(x, a, x'), unless learned; distance of x' from ending the episode (ended where <= 0).
  std::function<double(const Vector&, const Vector&, const Vector&)> reward;
  std::function<double(const Vector&)> distance_to_end;
};

struct Input {
  SolveKey key;
  std::vector<std::uint32_t> id;         // [B]
  std::vector<float> observation, plan;  // [B, nx], [B, H+1, nu]
  SolveDone done = {};                   // of a solve that ended early; 0: all
};

/// Of one plan update of one problem.
struct Update {
  std::vector<double> cost;  // [K] S before masking
  std::vector<bool> valid;   // [K]
  Eigen::MatrixXd plan;      // [H+1, nu] after the update
  double value = 0, effective_samples = 0, valid_share = 0;
  double constant = 0;  // c of V
  bool all_invalid = false;
};

struct Result {
  std::vector<std::vector<Update>> update;  // [iterations][B]
  std::vector<Vector> action;               // [B]
  /// Smallest distance of any decision (inside the box, ended) from going the other way; where it
  /// is within rounding, float and double may differ.
  double margin = 1e300;
};

Result solve(const Problem& problem, const Input& input);

}  // namespace softmpc::oracle
