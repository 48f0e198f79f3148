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
  /// Borrowed; looked ahead with in place of the bundle's members, if given. The bundle's critic
  /// stays the terminal value; a device needs a formula's device_rules() (rules.h).
  const DynamicsModel* dynamics = nullptr;
  /// Where plans are computed. A device plans in the bundle's planner.precision (auto: float16).
  Device device = Device::cpu;
  const cuda::DeviceOptions* cuda = nullptr;  ///< cuda.h; null: the defaults
};

/// Owns nets, plan and scratch of one receding-horizon controller.
class Controller {
 public:
  /// `reward` is borrowed; null if the bundle's members predict the reward. A bundle without
  /// members needs options.dynamics. Throws as make_planner.
  Controller(const Bundle& bundle, const RewardModel* reward, ControllerOptions options = {});
  Controller(Controller&&) noexcept;
  Controller& operator=(Controller&&) noexcept;
  ~Controller();

  /// "cpu", or "cuda (NAME)".
  std::string device() const;

  /// Starts an episode: the plan is drawn from N(0, Sigma) around n.
  void reset();
  /// Shifts the plan by one step and refines it, without allocating, from `observation` [nx].
  /// A NaN in the observation gives status bad_state and clip(shifted plan), never an exception.
  const Plan& plan(std::span<const float> observation);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace softmpc
