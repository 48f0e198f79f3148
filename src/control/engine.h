// SPDX-License-Identifier: Apache-2.0
// Nets and planner of a controller, everything that a hot swap exchanges.
#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "control/mean_model.h"
#include "softmpc/bundle.h"
#include "softmpc/controller.h"
#include "softmpc/network.h"
#include "softmpc/thread_pool.h"

namespace softmpc {

/// What a plan from one of the states that training saw gave.
struct ProbePlan {
  PlanStatus status = PlanStatus::ok;
  double value = 0;
  bool nets_finite = true;  ///< predictions and terminal value there
  /// A plan, of a finite value; nets that are not finite can hide behind the few rollouts that end.
  bool good() const { return usable(status) && std::isfinite(value) && nets_finite; }
};

inline constexpr std::uint32_t kProbes = 16;

struct Engine {
  /// Throw as the constructors of Controller.
  Engine(const Bundle& bundle, const RewardModel* reward, const ControllerOptions& options);
  Engine(const PlannerConfig& config, const ProblemShape& shape, const Models& given, double dt,
         const ControllerOptions& options);
  Engine(const Engine&) = delete;  // the planner borrows the nets
  Engine& operator=(const Engine&) = delete;

  /// Plans from the k-th of a fixed sequence of states that training saw, the first of which is
  /// their middle; of a draw that no tick uses.
  ProbePlan probe(std::uint64_t seed, std::uint32_t k);
  /// Whether `x` lies further outside the range of training than `margin` of its widths.
  bool unlikely(std::span<const float> x, double margin) const;

  /// Whether the learned ones of dynamics and terminal value are.
  bool nets_finite(std::span<const float> x, std::span<const float> a);

  ThreadPool pool;
  PlannerConfig config;  // with the precision that was asked for
  Precision precision;   // of the members' products, as decided
  std::unique_ptr<MlpDynamics> dynamics;
  std::unique_ptr<MlpValue> value;  // of several critics the first plans, as in training
  std::unique_ptr<MlpPolicy> policy;
  Models models;
  std::unique_ptr<Planner> planner;
  double dt;
  MeanModel mean;

  std::string task;                          // empty without a bundle
  std::uint64_t hash = 0;                    // of the bundle
  std::vector<float> state_low, state_high;  // [nx], or empty: not known
  std::vector<float> probe_low, probe_high;  // [nx] finite
  std::vector<float> unit;                   // [nx] of the disagreement
};

}  // namespace softmpc
