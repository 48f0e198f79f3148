// SPDX-License-Identifier: Apache-2.0
#include "bench/bench_work.h"

#include "learn/net_specs.h"

namespace softmpc::tools {
namespace {

double first_layer_flops(const NetSpec& spec) {
  return spec.layers.empty() ? 0 : 2.0 * spec.inputs * spec.layers.front().width;
}

/// One sample of an update: the outputs, the weights' gradient, and the gradient of every layer's
/// input but the first one's.
double update_flops(const NetSpec& spec) { return 3 * net_flops(spec) - first_layer_flops(spec); }

/// One sample of a policy's update. What a gradient passes through goes forth and back, its weights
/// stay: the critic, and H model steps with the policy's own input where it climbs rollouts.
double policy_update_flops(const Config& c, const NetSpec& policy, const NetSpec& dynamics,
                           const NetSpec& critic) {
  const double climbed = update_flops(policy) + 2 * net_flops(critic);
  if (c.policy.objective == PolicyObjective::critic) return climbed;
  return climbed + target_planner(c).horizon * (2 * net_flops(dynamics) + 3 * net_flops(policy));
}

/// What the critics' updates take beside their batch, a sample of it: imagined rows, the target
/// critics behind them, and the rollouts that no update of the policy makes.
double imagined_flops(const Config& c, const NetSpec& policy, const NetSpec& dynamics,
                      const NetSpec& critic) {
  if (c.critic.imagined_steps == 0) return 0;
  const int horizon = target_planner(c).horizon;
  const double rollout = horizon * net_flops(dynamics) + (horizon + 1) * net_flops(policy);
  return c.critic.count * (c.critic.imagined_steps * update_flops(critic) + net_flops(critic)) +
         (1 - 1.0 / c.policy.update_interval) * rollout;
}

}  // namespace

double net_flops(const NetSpec& spec) {
  double sum = 0;
  spec.for_each_slot([&](const ParameterSlot& slot) {
    if (slot.part == Part::weight) sum += 2.0 * static_cast<double>(slot.size());
  });
  return sum;
}

Work plan_work(const PlanSizes& s, const PlanNets& nets) {
  Work work;
  work.values = s.problems * s.rollouts * s.iterations;
  work.evals = work.values * s.horizon;
  const double shared =
      nets.dynamics.layers.empty() ? 0 : 2.0 * s.shared * nets.dynamics.layers.front().width;
  const double again = s.problems * (s.rollouts - 1) * s.iterations;  // who finds them summed
  work.flops = work.evals * net_flops(nets.dynamics) - again * shared +
               work.values * net_flops(nets.critic) +
               (work.evals + work.values) * net_flops(nets.policy);
  if (!nets.proposer.layers.empty())
    work.flops += s.problems * (s.horizon * net_flops(nets.dynamics) +
                                (s.horizon + 1) * net_flops(nets.proposer));
  return work;
}

double flops_per_step(const Config& c, const TaskSpec& spec, MemberOutputs outputs) {
  const bool learned = c.model.source == ModelSource::learned;
  const bool residual = c.planner.control_mode == ControlMode::policy_residual;
  const NetSpec member = member_spec(c.model, spec.nx, spec.nu, outputs);
  const NetSpec critic = critic_spec(c.critic, spec.nx, spec.nu);
  const NetSpec policy = policy_spec(c.policy, spec.nx, spec.nu);
  PlanNets nets;
  nets.critic = critic;
  if (residual) nets.policy = policy;
  if (c.planner.proposals == Proposals::plan_and_policy) nets.proposer = policy;
  if (learned) {  // a planner reads no variances
    nets.dynamics = member;
    nets.dynamics.layers.back().width = spec.nx + outputs.reward + outputs.termination;
  }
  const int shared = c.planner.member_draw == MemberDraw::per_step ? spec.nx : 0;
  const double horizon = c.planner.horizon, target_horizon = target_planner(c).horizon;
  // the executed action clip(mu(x_0) + u_0) is one more evaluation of the policy
  const double online = c.trainer.acting == Acting::planner
                            ? plan_work({1, static_cast<double>(c.planner.rollouts), horizon,
                                         static_cast<double>(c.planner.iterations), shared},
                                        nets)
                                      .flops +
                                  net_flops(nets.policy)
                            : net_flops(policy);
  const double batch = static_cast<double>(c.critic.batch_size) * c.critic.updates_per_step;
  const double targets =
      c.targets.source == TargetSource::planner
          ? c.critic.count *
                plan_work({batch, static_cast<double>(c.targets.rollouts), target_horizon,
                           static_cast<double>(c.targets.iterations), shared},
                          nets)
                    .flops
          : batch * (net_flops(policy) + c.critic.count * net_flops(critic));
  const double samples = static_cast<double>(c.model.batch_size) * c.model.updates_per_step;
  const double models = learned ? samples * c.model.members * update_flops(member) : 0;
  const double critics = batch * (c.critic.count * update_flops(critic) +
                                  imagined_flops(c, policy, nets.dynamics, critic));
  const double actor = has_policy(c) ? batch / c.policy.update_interval *
                                           policy_update_flops(c, policy, nets.dynamics, critic)
                                     : 0;
  return online + targets + models + critics + actor;
}

}  // namespace softmpc::tools
