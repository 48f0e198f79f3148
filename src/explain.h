// SPDX-License-Identifier: Apache-2.0
// Why a plan is what it is: the rollouts of one solve, what each was made of and what weight it
// had, with cost and value computed again from these parts.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "softmpc/controller.h"
#include "softmpc/planner.h"

namespace softmpc {

/// The solve of one problem.
struct ExplainInput {
  SolveKey key;
  std::uint32_t problem_id = 0;
  std::span<const float> observation;    // [nx]
  std::span<const float> plan;           // [H+1, nu] u before the solve
  SolveDone done = {};                   // of a solve that ended early; 0: all
  std::span<const float> low{}, high{};  // [nu] tighter bounds; empty: the shape's
  std::span<const float> parameters{};   // of the reward; empty: its own
};

/// Of what a controller solved, Controller::solved().
ExplainInput explain_input(const Solved& solved);

/// What became of a rollout.
enum class RolloutFate : std::uint8_t {
  counts,
  left_box,        // uniform prior: an entry of v_t was outside the bounds
  other_left_box,  // another particle of its action sequence was
  not_finite,      // its cost, or that of its action sequence
  not_started,     // there was no time
};
const char* to_string(RolloutFate fate);

/// A rollout of the last iteration. S = prior_term - gain.
struct ExplainedRollout {
  int part = 0;     // of Explanation::parts
  int rollout = 0;  // k, within the part
  RolloutFate fate = RolloutFate::not_started;
  double weight = 0;              // of all rollouts together they sum to 1
  float cost = 0;                 // S of this rollout alone
  float sequence_cost = 0;        // S that was weighed: the mean over the particles of the sequence
  float gain = 0;                 // the return -J = sum_t gamma^t r_t + gamma^H Q(x_H, a_H)
  std::span<const float> reward;  // [H] r_t; those after `end` do not count
  int end = 0;                    // t of the step that ended the rollout; H: none did
  float terminal_value = 0;       // Q(x_H, a_H) as it counts: 0 after an end
  float prior_term = 0;           // Gaussian: lambda sum_t gamma^t u_t' Sigma^-1 eps_t
  double clipped = 0;             // share of the (H+1) nu entries of the actions
  int first_outside = -1;         // t of the first of these; -1: none
  std::span<const int> member;    // [H] that made the steps
  std::span<const float> state;   // [H+1, nx]
  std::span<const float> action;  // [H+1, nu]
};

struct ExplainedIteration {
  double value, effective_samples, valid_share;
  PlanStatus status;
  int rollouts;                    // that were weighed
  std::span<const float> plan;     // [H+1, nu] before it
  std::span<const float> refined;  // [H+1, nu] after it
};

/// One, or of proposals plan_and_policy two: about the given plan, then about the policy's.
struct ExplainedPart {
  double share = 0;  // of the weight, and of the plan
  std::vector<ExplainedIteration> iterations;
};

/// The largest difference, and the largest share of what rounding may make of it.
struct ExplainedCheck {
  double difference = 0, of_rounding = 0;
};

struct Explanation {
  PlanStatus status = PlanStatus::ok;
  double value = 0, effective_samples = 0, valid_share = 0;
  SolveDone done;
  std::vector<float> plan, refined;  // [H+1, nu] before and after the solve
  std::vector<float> action;         // [nu]
  std::vector<ExplainedPart> parts;
  std::vector<ExplainedRollout> rollouts;  // empty after bad_state; those of the parts in turn
  double weight_sum = 0;

  /// What follows from the parts, against what the plan was made of: S of all iterations, and V.
  ExplainedCheck cost_check, value_check;
  /// Both within rounding, and weights that sum to 1.
  bool agrees() const;

  PlanTrace trace;  // what the spans above show
  RolloutTrace kept;

  Explanation() = default;
  Explanation(Explanation&&) = default;  // its spans stay where they are
  Explanation& operator=(Explanation&&) = default;
};

/// Computes the solve again on the CPU. Throws as make_planner() and Planner::solve().
Explanation explain(const PlannerConfig& config, const ProblemShape& shape, const Models& models,
                    const ExplainInput& input);

/// Fills in all that follows from trace, kept, done, status and value, which are the solve's.
void explain_trace(const PlannerConfig& config, const ProblemShape& shape, Explanation& e);

}  // namespace softmpc
