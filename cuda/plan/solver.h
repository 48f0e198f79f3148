// SPDX-License-Identifier: Apache-2.0
// The launches of a solve on data that is on the device already. DevicePlanner adds the copies to
// and from the host, the trainer the replay.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "kernels/job.h"
#include "plan/net.h"
#include "runtime/device.h"
#include "softmpc/cuda.h"

namespace softmpc::cuda {

/// Stacks that a solver reads; they outlive it and keep their shapes. `policy` may be null. A
/// solver requires the order of weights that it reads; the stacks are to be packed after that.
/// Analytic dynamics take the place of members and policy; an analytic value, only beside them,
/// that of the critics. Critics beside analytic dynamics are float32.
struct SolverNets {
  DeviceStack* dynamics = nullptr;
  DeviceStack* critics = nullptr;
  DeviceStack* policy = nullptr;
  MemberOutputs outputs = {};
  const RewardModel* reward = nullptr;
  const DynamicsModel* analytic_dynamics = nullptr;
  const TerminalValue* analytic_value = nullptr;
};

/// Device arrays of one batch of solves, shapes as in RolloutJob.
struct SolveArrays {
  const SolveHeader* header = nullptr;
  const float* observation = nullptr;
  const std::uint32_t* problem_id = nullptr;
  const float* plan = nullptr;  ///< in
  float* refined = nullptr;     ///< out; never the array of `plan`
  float* action = nullptr;
  ProblemResult* result = nullptr;
  // verification: null unless traced
  const float* fixed_noise = nullptr;
  const int* fixed_member = nullptr;
};

/// Operands that members and critics are packed with: beside 16-bit members a critic is split,
/// because its values may be hundreds of temperatures.
Operands member_operands(Number number, const DeviceOptions& options = {});
Operands critic_operands(Number number, const DeviceOptions& options = {});

class Solver {
 public:
  /// Number of the planner's precision; float32 takes the plain kernels.
  static Number number(Precision precision);
  /// `traced` specialises for given noise and members.
  Solver(Device& device, const PlannerConfig& config, const ProblemShape& shape,
         const SolverNets& nets, DeviceOptions options, bool traced = false);
  ~Solver();

  /// Launches all iterations for `problems` with critic `critic` of the stack; no wait, no
  /// allocation.
  void launch(const SolveArrays& arrays, int problems, int critic);
  /// The same, one iteration: traces look at each.
  void launch_iteration(const SolveArrays& arrays, int problems, int critic, int iteration);
  /// Copies the parameters of the rules of those models that are given. Waits. Throws Error if they
  /// are other rules than the solver was made with.
  void update_rules(const RewardModel* reward, const DynamicsModel* dynamics,
                    const TerminalValue* value);
  /// Copies bounds and what follows from them. Waits. Work that was recorded before has the old
  /// ones in part.
  void update_bounds(const PlannerConstants& constants);
  /// Whether the reward's rules have so many parameters.
  bool fits_reward(std::size_t parameters) const;
  /// Copies parameters in place of the reward's own. Waits.
  void update_parameters(std::span<const float> parameters);
  /// S and validity of the last iteration [B, K], on the device.
  const float* cost() const;
  const std::uint8_t* valid() const;
  /// Where the plans lie after an iteration.
  float* plan_after(const SolveArrays& arrays, int iteration) const;
  DeviceDiagnostics diagnostics() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace softmpc::cuda
