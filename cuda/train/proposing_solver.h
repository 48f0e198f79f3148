// SPDX-License-Identifier: Apache-2.0
// The solves of training as planner.proposals says: one, or two parts about two plans that become
// one (src/proposing_planner.h does the same with the policy on the host).
#pragma once

#include <memory>
#include <optional>

#include "plan/solver.h"
#include "train/policy_rollout_memory.h"

namespace softmpc::cuda {

class ProposingSolver {
 public:
  /// Problems have their place in the batch as id. `policy` is what proposes: float32, with the
  /// constants of its inputs; empty where nothing does.
  ProposingSolver(Device& device, const PlannerConfig& config, const ProblemShape& shape,
                  const SolverNets& nets, const std::optional<FlatNet>& policy);

  /// Launches the solves of max_problems problems with critic `critic` of the stack; no wait.
  void launch(SolveArrays arrays, int critic);

 private:
  /// The second part, and the whole.
  struct Parts {
    Parts(Device& device, const PlannerConfig& config, const ProblemShape& shape,
          const PolicyRollout& nets);
    PolicyRolloutMemory memory;
    std::unique_ptr<Memory> observation, plan, refined, action, result;  // of 2B problems
    std::shared_ptr<Kernel> propose, merge;
  };

  Device& device_;
  int problems_, plan_;  // B, floats of a plan
  double temperature_;
  Solver solver_;
  std::optional<Parts> parts_;
  std::unique_ptr<Memory> ids_;
};

}  // namespace softmpc::cuda
