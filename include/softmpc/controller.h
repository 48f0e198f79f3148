// SPDX-License-Identifier: Apache-2.0
// The planner in a control loop: one robot, warm start from tick to tick.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "softmpc/bundle.h"
#include "softmpc/planner.h"

namespace softmpc {

/// One planned step. Spans stay valid until the next call.
struct Plan {
  std::span<const float> action;    ///< [nu] to execute: clip(n + u_0)
  std::span<const float> sequence;  ///< [H+1, nu] the refined plan u, relative to n
  double value = 0;                 ///< soft value V(x_0)
  double effective_samples = 0;
  double valid_share = 0;
  PlanStatus status = PlanStatus::ok;
};

struct ControllerOptions {
  std::uint64_t seed = 1;
  int threads = 1;
  /// Borrowed; looked ahead with in place of the bundle's members, if given.
  const DynamicsModel* dynamics = nullptr;
  /// Controller itself takes "cpu" alone; cuda::make_controller (cuda.h) "cuda" and "auto" too.
  std::string device = "cpu";
};

/// What computes a controller's plans, on whatever device.
class PlanSolver {
 public:
  virtual ~PlanSolver() = default;
  /// As Planner::solve, for one problem.
  virtual void solve(SolveKey key, const PlanBatch& batch) = 0;
  /// "cpu", or "cuda" and the device's name.
  virtual std::string device() const = 0;
};

/// Owns nets, plan and scratch of one receding-horizon controller.
class Controller {
 public:
  /// Plans on the CPU. `reward` is borrowed; null if the bundle's members predict the reward.
  Controller(const Bundle& bundle, const RewardModel* reward, ControllerOptions options = {});
  /// Plans with `solver`, which has the bundle's nets and planner settings; of the options, the
  /// seed counts.
  Controller(const Bundle& bundle, std::unique_ptr<PlanSolver> solver, ControllerOptions options);
  Controller(Controller&&) noexcept;
  Controller& operator=(Controller&&) noexcept;
  ~Controller();

  /// Where plans are computed: "cpu", or "cuda" and the device's name.
  std::string device() const;

  /// Starts an episode: the plan is drawn from N(0, Sigma) around n.
  void reset();
  /// Shifts the plan by one step and refines it from `observation` [nx].
  /// A NaN in the observation gives status bad_state and clip(shifted plan), never an exception.
  const Plan& plan(std::span<const float> observation);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace softmpc
