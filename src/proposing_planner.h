// SPDX-License-Identifier: Apache-2.0
// planner.proposals plan_and_policy, on every device: half of the rollouts are about the plan so
// far, half about the plan that the policy makes, and the better half has the say.
#pragma once

#include <memory>

#include "softmpc/planner.h"

namespace softmpc {

/// As make_planner(). One solve of another planner serves both halves: B problems become 2B, of
/// K/2 rollouts each, and hd::merge_solves joins them as one solve of K would.
std::unique_ptr<Planner> make_proposing_planner(const PlannerConfig& config,
                                                const ProblemShape& shape, const Models& models,
                                                const PlannerOptions& options);

/// What each part of such a solve is solved with, and the problems of both parts: those about the
/// given plans, then those about the policy's, of ids 2 id and 2 id + 1.
PlannerConfig part_of_solve(PlannerConfig config);
ProblemShape parts_of_problems(ProblemShape shape);

}  // namespace softmpc
