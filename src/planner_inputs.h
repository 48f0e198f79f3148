// SPDX-License-Identifier: Apache-2.0
// What planners of every device share: checks of what they are given, constants that follow from
// the settings, shifted and drawn plans.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "covariance.h"
#include "softmpc/planner.h"

namespace softmpc {

/// Throws UsageError naming the setting or size that is impossible.
void check_shape(const PlannerConfig& config, const ProblemShape& shape);
/// Throws Error naming the array of a wrong size, or the limit out of range.
void check_batch(const PlannerConfig& config, const ProblemShape& shape, const PlanBatch& batch);
void check_trace(const PlannerConfig& config, const ProblemShape& shape, const PlanBatch& batch,
                 const PlanTrace& trace, int members);

/// Whether a solve looks at the clock.
bool has_deadline(const SolveBudget& budget);
/// `deadline` with `by` left for what follows; no deadline stays none, and the clock's ends do not
/// overflow.
SolveBudget::Clock::time_point earlier(SolveBudget::Clock::time_point deadline,
                                       SolveBudget::Clock::duration by);
/// A whole solve.
SolveDone whole_solve(const PlannerConfig& config);
/// What a solve without a deadline does: its limits, else all.
SolveDone part_of(const PlannerConfig& config, const SolveBudget& budget);
/// The limits that have the same part computed again; of none, as of all, there are none.
SolveBudget budget_of(const PlannerConfig& config, const SolveDone& done);
/// How few rollouts of each problem are a plan, at least one action sequence.
int fewest_rollouts(const PlannerConfig& config, const SolveBudget& budget);
/// Whether these bounds [nu] lie in the shape's box.
bool bounds_fit(const ProblemShape& shape, std::span<const float> low, std::span<const float> high);
/// Planner::set_parameters() for `reward`, which may be null; `to` has room for them.
bool take_parameters(const RewardModel* reward, std::span<const float> parameters,
                     std::vector<float>& to) noexcept;
/// Numbers that a planner may give the reward, which may be null.
int parameter_count(const RewardModel* reward);

/// The setting that makes plans with a policy, "proposals plan_and_policy" for one.
std::string policy_use(const PlannerConfig& config);

/// What a planner was given to look ahead with.
struct GivenModels {
  bool dynamics_and_value;
  int members;
  bool analytic_reward, learned_reward, policy, termination;
};
/// Throws Error naming what this configuration needs beside them.
void check_models(const PlannerConfig& config, const GivenModels& given);

struct PlannerConstants {
  /// [nu]; both 0 for a fixed action. Of a full covariance: of z, and 1 where w = Sigma^-1 u stands
  /// for the u of S, 0 under the uniform prior, whose eps' Sigma^-1 eps comes with the noise.
  std::vector<float> sigma, inverse_variance;
  std::vector<float> low, high;  ///< [nu] of the actions
  CovarianceFactors covariance;
  std::vector<float> neutral;   ///< [nu] n
  std::vector<float> discount;  ///< [H+1] gamma^t
  double charge_sum = 0;        ///< lambda sum_t gamma^t
  double uniform = 0;           ///< c of hd::soft_value under the uniform prior
  PlannerConstants() = default;
  PlannerConstants(const PlannerConfig& config, const ProblemShape& shape);
  /// With these bounds in the place of the shape's; n stays. Does not allocate.
  void set_bounds(const PlannerConfig& config, std::span<const float> lowest,
                  std::span<const float> highest);
};

/// The results of a batch that there was no time for.
void hand_out_no_time(const PlannerConstants& constants, const PlanBatch& batch);

/// u <- (u_1, ..., u_H, 0). Throws Error unless `plan` has `size` entries.
void shift_plan(int nu, std::span<float> plan, std::size_t size);
/// u ~ N(0, Sigma), a function of key and problem.
void draw_plan(const PlannerConstants& constants, SolveKey key, std::uint32_t problem,
               std::span<float> plan, std::size_t size);

}  // namespace softmpc
