// SPDX-License-Identifier: Apache-2.0
// MPPI over an ensemble, in batch: B problems, each with its own plan. arXiv 2604.01477.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "softmpc/config.h"
#include "softmpc/model.h"

namespace softmpc {

class ThreadPool;
namespace cuda {
struct DeviceOptions;
}

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

/// When a solve has to end, and how little of it is still a plan. Without a deadline a solve reads
/// no clock, with one it first expects what earlier ones took.
struct SolveBudget {
  using Clock = std::chrono::steady_clock;
  /// Rollouts that would end later are not started; a device, which cannot stop, does not start a
  /// solve that would.
  Clock::time_point deadline = Clock::time_point::max();
  /// A plan from fewer is status no_time, 1..K; 0: a quarter of K, rounded up.
  int min_rollouts = 0;
  /// The part of a solve that ended early, to compute it again: iterations of all rollouts but the
  /// last, which has these; 0: all. Not beside a deadline, and a device does no part.
  int iterations = 0, rollouts = 0;
};

/// How much of a solve was done: `iterations` plan updates, the last from the first `rollouts`
/// rollouts of each problem. Both 0 with status no_time.
struct SolveDone {
  int iterations = 0, rollouts = 0;
  bool operator==(const SolveDone&) const = default;
};

/// Inputs and results of a batch of solves. Spans are the caller's memory.
struct PlanBatch {
  int problems = 0;                           ///< B
  std::span<const float> observation;         ///< [B, nx]
  std::span<const std::uint32_t> problem_id;  ///< [B]; empty: 0..B-1
  std::span<float> plan;  ///< [B, H+1, nu] u, relative to n; in and out, used as it is
  /// [B, nu] out, may be empty: clip(n + u_0); with a policy clip(mu(x_0) + u_0), but about n where
  /// the status is bad_state or no_time
  std::span<float> action;
  std::span<double> value;              ///< [B] out: soft value V(x_0)
  std::span<double> effective_samples;  ///< [B] out, may be empty: (sum w)^2 / sum w^2
  std::span<double> valid_share;        ///< [B] out, may be empty: share of rollouts that count
  std::span<PlanStatus> status;         ///< [B] out, may be empty
  SolveBudget budget = {};
  SolveDone* done = nullptr;  ///< out, may be null
};

/// What the rollouts of a traced solve were made of, for explanations. Each plan update appends its
/// arrays; in the last one of a part of a solve, entries of rollouts left out are 0 or mean
/// nothing.
struct RolloutTrace {
  std::vector<float> plan;    ///< [iterations, B, H+1, nu] u before the update
  std::vector<float> state;   ///< [iterations, B, K, H+1, nx] x_0..x_H
  std::vector<float> action;  ///< [iterations, B, K, H+1, nu] a_t, clipped
  std::vector<std::uint8_t>
      outside;              ///< [iterations, B, K, H+1, nu] this entry of v_t left the box
  std::vector<int> member;  ///< [iterations, B, K, H] that made the step
  /// [iterations, B, K, H] r_t, a step that ends with planner.termination_cost taken; after an end,
  /// too
  std::vector<float> reward;
  std::vector<int> end;                ///< [iterations, B, K] t of the step that ended it; H: none
  std::vector<float> terminal_value;   ///< [iterations, B, K] Q(x_H, a_H), after an end, too
  std::vector<float> prior;            ///< [iterations, B, K] the prior sum of hd::rollout_cost
  std::vector<double> value_constant;  ///< [iterations, B] c of hd::soft_value
};

/// Fixed noise and members in place of drawn ones, and intermediate results, for verification.
/// Under proposals plan_and_policy B stands for 2B, first those about the given plans, then those
/// about the policy's, and K for K/2.
struct PlanTrace {
  std::span<const float> noise;  ///< [iterations, B, K, H+1, nu]; empty: drawn
  std::span<const int> member;   ///< [iterations, H]; empty: drawn
  std::vector<float> cost;       ///< out [iterations, B, K]: S before masking; NaN: not rolled out
  std::vector<std::uint8_t> valid;        ///< out [iterations, B, K]
  std::vector<float> plan;                ///< out [iterations, B, H+1, nu]
  std::vector<double> value;              ///< out [iterations, B]
  std::vector<double> effective_samples;  ///< out [iterations, B]
  RolloutTrace* rollouts = nullptr;       ///< out, null: not asked for. A device throws Error
};

struct PlannerConstants;  // private to src/

/// Batched MPPI on some device; make_planner() makes one. Not for use by several threads at once.
class Planner {
 public:
  virtual ~Planner();
  Planner(const Planner&) = delete;
  Planner& operator=(const Planner&) = delete;

  const PlannerConfig& config() const { return config_; }
  const ProblemShape& shape() const { return shape_; }
  std::size_t plan_size() const;  ///< (H+1) * nu

  /// From now on plans with these, of the same kinds and sizes as those of the creation. The CPU
  /// borrows them (cheap), a device copies weights and parameters. Throws Error if one that this
  /// configuration needs is missing.
  virtual void update(const Models& models) = 0;
  /// From the next solve on actions keep to these bounds [nu]: low <= high inside shape()'s box,
  /// which they leave as it is, and n with it. An action of equal bounds is fixed. False, and
  /// nothing is changed, where they are no such bounds.
  virtual bool set_bounds(std::span<const float> low, std::span<const float> high) noexcept;
  /// From the next solve on the reward is that of these parameters
  /// [RewardModel::parameter_count()]; empty: of its own. False, and nothing is changed, where it
  /// takes none or not so many, or one is not finite.
  virtual bool set_parameters(std::span<const float> parameters) noexcept;
  /// Runs config.iterations plan updates for every problem; allocates nothing. Throws Error on
  /// wrong sizes or a budget out of range; numeric trouble and want of time are a status. `trace`
  /// may be null, and is of solves without a deadline.
  virtual void solve(SolveKey key, const PlanBatch& batch, PlanTrace* trace = nullptr) = 0;
  /// "cpu", or "cuda (NAME)".
  virtual std::string device() const = 0;
  /// Whose rollouts a solve consists of: this one's, or another's that this one solves with.
  virtual const Planner& solver() const { return *this; }
  Planner& solver() { return const_cast<Planner&>(std::as_const(*this).solver()); }

  /// u <- (u_1, ..., u_H, 0) for one plan [H+1, nu]; the appended action is n.
  void shift(std::span<float> plan) const;
  /// u ~ N(0, Sigma) for one plan [H+1, nu], a function of key and problem id. For the plan at an
  /// episode's start the key's `solve` counts episodes and the problem is kEpisodePlan.
  void draw(SolveKey key, std::uint32_t problem, std::span<float> plan) const;

 protected:
  /// Throws UsageError on a bad config or shape.
  Planner(const PlannerConfig& config, const ProblemShape& shape);
  const PlannerConstants& constants() const { return *constants_; }

 private:
  PlannerConfig config_;
  ProblemShape shape_;
  std::unique_ptr<PlannerConstants> constants_;
};

struct PlannerOptions {
  Device device = Device::cpu;
  ThreadPool* pool = nullptr;                 ///< borrowed, for the CPU; null: one thread
  const cuda::DeviceOptions* cuda = nullptr;  ///< cuda.h; null: the defaults
};

/// A planner with everything allocated. `models` are as for Planner::update. Device::automatic is
/// cuda where one can be used and all models have a form for it, else the CPU. Throws UsageError on
/// a bad config or shape, Error where a model is missing or the device cannot be used.
std::unique_ptr<Planner> make_planner(const PlannerConfig& config, const ProblemShape& shape,
                                      const Models& models, const PlannerOptions& options = {});

}  // namespace softmpc
