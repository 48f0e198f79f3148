// SPDX-License-Identifier: Apache-2.0
#include "train/proposing_solver.h"

#include <vector>

#include "kernels/train_memory.h"
#include "proposing_planner.h"

namespace softmpc::cuda {
namespace {

PlannerConfig solved(const PlannerConfig& config, bool in_parts) {
  return in_parts ? part_of_solve(config) : config;
}
ProblemShape solved(const ProblemShape& shape, bool in_parts) {
  return in_parts ? parts_of_problems(shape) : shape;
}

PolicyRollout rollout_nets(const PlannerConfig& config, const SolverNets& nets,
                           const FlatNet& policy) {
  PolicyRollout r{};
  r.policy = policy;
  r.members = nets.dynamics->flat();
  r.stack = nets.dynamics->stack();
  r.horizon = config.horizon;
  return r;
}

}  // namespace

ProposingSolver::Parts::Parts(Device& device, const PlannerConfig& config,
                              const ProblemShape& shape, const PolicyRollout& nets)
    : memory(device, config, shape, nets) {
  const std::size_t n = 2 * static_cast<std::size_t>(shape.max_problems);
  const auto floats = [&](std::size_t each) { return device.allocate(n * each * sizeof(float)); };
  const std::size_t floats_of_plan = static_cast<std::size_t>(config.horizon + 1) * shape.nu;
  observation = floats(shape.nx);
  plan = floats(floats_of_plan);
  refined = floats(floats_of_plan);
  action = floats(shape.nu);
  result = device.allocate(n * sizeof(ProblemResult));
  const auto load = [&](const char* call, const char* header, const char* job) {
    return device.load({.call = call, .header = header, .job = job, .threads = kTrainThreads});
  };
  propose = load("propose_plans", "policy_rollout.cuh", "ProposalJob");
  merge = load("merge_parts", "merge.cuh", "MergeJob");
}

ProposingSolver::ProposingSolver(Device& device, const PlannerConfig& config,
                                 const ProblemShape& shape, const SolverNets& nets,
                                 const std::optional<FlatNet>& policy)
    : device_(device),
      problems_(shape.max_problems),
      plan_((config.horizon + 1) * shape.nu),
      temperature_(config.temperature),
      solver_(device, solved(config, policy.has_value()), solved(shape, policy.has_value()), nets,
              DeviceOptions{}) {
  if (policy) parts_.emplace(device, config, shape, rollout_nets(config, nets, *policy));
  std::vector<std::uint32_t> ids(parts_ ? 2 * problems_ : problems_);
  for (std::uint32_t b = 0; b < static_cast<std::uint32_t>(problems_); ++b) {
    ids[b] = parts_ ? 2 * b : b;
    if (parts_) ids[problems_ + b] = 2 * b + 1;
  }
  ids_ = device.allocate(ids.size() * sizeof(std::uint32_t));
  device.upload(ids_->data(), ids.data(), ids_->size());
  device.synchronise();
}

void ProposingSolver::launch(SolveArrays arrays, int critic) {
  arrays.problem_id = ids_->as<std::uint32_t>();
  if (!parts_) {
    solver_.launch(arrays, problems_, critic);
    return;
  }
  Parts& p = *parts_;
  PolicyRollout rollout = p.memory.rollout();
  rollout.start = arrays.observation;
  const ProposalJob proposal = {rollout, arrays.header, arrays.plan, p.observation->as<float>(),
                                p.plan->as<float>()};
  device_.launch(
      *p.propose,
      {.blocks = rollout.chunks(), .threads = kTrainThreads, .shared_bytes = sizeof(TrainMemory)},
      proposal);
  SolveArrays both = arrays;
  both.observation = p.observation->as<float>();
  both.plan = p.plan->as<float>();
  both.refined = p.refined->as<float>();
  both.action = p.action->as<float>();
  both.result = p.result->as<ProblemResult>();
  solver_.launch(both, 2 * problems_, critic);
  const MergeJob merge = {problems_,      rollout.nu,      plan_,        temperature_, rollout.low,
                          rollout.high,   rollout.neutral, arrays.plan,  both.refined, both.result,
                          arrays.refined, arrays.action,   arrays.result};
  device_.launch(*p.merge, {.blocks = parts_of(problems_, kTrainWarps), .threads = kTrainThreads},
                 merge);
}

}  // namespace softmpc::cuda
