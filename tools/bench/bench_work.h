// SPDX-License-Identifier: Apache-2.0
// What a benchmark counts. One rule for every device and program: what a plan or an update needs,
// never what somebody might compute beside it.
#pragma once

#include "softmpc/config.h"
#include "softmpc/net.h"
#include "softmpc/network.h"
#include "softmpc/task.h"

namespace softmpc::tools {

/// The rule as one line of --help.
inline constexpr const char* kWorkRule =
    "Work: two operations a weight and evaluation; the observation's products with the first layer "
    "count\nonce a problem, since its rollouts share them; padding, biases, activations count "
    "nothing.";

/// Of one plan of a whole batch, or of one step of training.
struct Work {
  double evals = 0;   ///< model steps, B K H an iteration
  double values = 0;  ///< terminal values, B K an iteration
  double flops = 0;   ///< multiplications and additions of the nets; 0: not known
};

/// Of one evaluation of a net: two operations a weight.
double net_flops(const NetSpec& spec);

/// What a plan evaluates. Nets that it does without have no layers.
struct PlanNets {
  NetSpec dynamics;  ///< with the outputs that a planner reads
  NetSpec critic;
  NetSpec policy;    ///< of control mode policy_residual
  NetSpec proposer;  ///< of planner.proposals plan_and_policy: rolled out once a problem
};
/// B plans of K rollouts over H steps. `shared`: inputs of the dynamics that are the same in the
/// first step of all rollouts of a problem, and are summed once.
struct PlanSizes {
  double problems, rollouts, horizon, iterations;
  int shared;
};
Work plan_work(const PlanSizes& sizes, const PlanNets& nets);

/// Of one environment step of training: online plan, target plans, updates. `outputs` are what the
/// members learn beside the state change.
double flops_per_step(const Config& config, const TaskSpec& spec, MemberOutputs outputs);

}  // namespace softmpc::tools
