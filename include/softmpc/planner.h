// SPDX-License-Identifier: Apache-2.0
// MPPI over an ensemble, in batch: B problems, each with its own plan. arXiv 2604.01477.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "softmpc/config.h"
#include "softmpc/model.h"

namespace softmpc {

class ThreadPool;

/// Sizes and bounds that a planner is created for.
struct ProblemShape {
  int nx = 0, nu = 0;
  /// [nu], low <= high. An action of equal bounds is fixed; bounds may be infinite under the
  /// Gaussian prior without a policy.
  std::vector<float> action_low, action_high;
  int max_problems = 1;  ///< largest B of a solve
};

/// The neutral action n [nu]: planner.neutral where it is given; else 0 for an action whose box
/// holds it with room on both sides, the middle of another box, the end of a half-line. Planned is
/// v_t = n + u_t + eps_t; the method's text has n = 0, as all built-in tasks, and with a policy
/// mu(x_t) in place of n.
std::vector<float> neutral_action(const PlannerConfig& config, const ProblemShape& shape);

/// Where random numbers come from. A plan is a function of these, of the problem ids and of the
/// inputs; never of thread count or batch position.
struct SolveKey {
  std::uint64_t seed = 0;
  std::uint32_t solve = 0;  ///< counts solves; a caller never uses one twice under a seed
};

/// Problem id of the plans that start episodes, apart from those of any batch.
inline constexpr std::uint32_t kEpisodePlan = ~std::uint32_t{0};

/// Inputs and results of a batch of solves. Spans are the caller's memory.
struct PlanBatch {
  int problems = 0;                           ///< B
  std::span<const float> observation;         ///< [B, nx]
  std::span<const std::uint32_t> problem_id;  ///< [B]; empty: 0..B-1
  std::span<float> plan;    ///< [B, H+1, nu] u, relative to n; in and out, used as it is
  std::span<float> action;  ///< [B, nu] out, may be empty: clip(n + u_0)
  std::span<double> value;  ///< [B] out: soft value V(x_0)
  std::span<double> effective_samples;  ///< [B] out, may be empty: (sum w)^2 / sum w^2
  std::span<double> valid_share;        ///< [B] out, may be empty: rollouts that count / K
  std::span<PlanStatus> status;         ///< [B] out, may be empty
};

/// Fixed noise and members in place of drawn ones, and intermediate results, for verification.
struct PlanTrace {
  std::span<const float> noise;           ///< [iterations, B, K, H+1, nu]; empty: drawn
  std::span<const int> member;            ///< [iterations, H]; empty: drawn
  std::vector<float> cost;                ///< out [iterations, B, K]: S before masking
  std::vector<std::uint8_t> valid;        ///< out [iterations, B, K]
  std::vector<float> plan;                ///< out [iterations, B, H+1, nu]
  std::vector<double> value;              ///< out [iterations, B]
  std::vector<double> effective_samples;  ///< out [iterations, B]
};

/// Batched MPPI. Creation allocates; solve() does not, once it has been called with these models.
class Planner {
 public:
  /// `pool` is borrowed and may be null (one thread). Throws UsageError on a bad config or shape.
  Planner(const PlannerConfig& config, const ProblemShape& shape, ThreadPool* pool = nullptr);
  ~Planner();
  Planner(Planner&&) noexcept;
  Planner& operator=(Planner&&) noexcept;

  const PlannerConfig& config() const;
  const ProblemShape& shape() const;

  /// Throws Error if a model that this configuration needs is missing. solve() checks it too.
  void check(const Models& models) const;
  /// Runs config.iterations plan updates for every problem. Throws Error on wrong sizes; numeric
  /// trouble is a status. `trace` may be null.
  void solve(const Models& models, SolveKey key, const PlanBatch& batch,
             PlanTrace* trace = nullptr);

  /// u <- (u_1, ..., u_H, 0) for one plan [H+1, nu]; the appended action is n.
  void shift(std::span<float> plan) const;
  /// u ~ N(0, Sigma) for one plan [H+1, nu], a function of key and problem id. For the plan at an
  /// episode's start the key's `solve` counts episodes and the problem is kEpisodePlan.
  void draw(SolveKey key, std::uint32_t problem, std::span<float> plan) const;
  std::size_t plan_size() const;  ///< (H+1) * nu

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace softmpc
