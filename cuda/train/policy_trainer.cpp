// SPDX-License-Identifier: Apache-2.0
#include "train/policy_trainer.h"

#include <algorithm>
#include <utility>

#include "kernels/train_memory.h"
#include "planner_inputs.h"

namespace softmpc::cuda {
namespace {

bool through_models(const Config& c) { return c.policy.objective == PolicyObjective::rollout; }

ProblemShape batch_shape(const Config& c, const TrainTask& t) {
  return {t.nx, t.nu, t.action_low, t.action_high, c.critic.batch_size};
}

/// The critic's objective is a rollout of no step.
PolicyRollout rollout_nets(const Config& c, const PolicyGradientNets& nets) {
  PolicyRollout r{};
  r.policy = nets.policy;
  r.members = nets.members;
  r.stack = nets.stack;
  r.horizon = through_models(c) ? target_planner(c).horizon : 0;
  return r;
}

}  // namespace

PolicyTrainer::PolicyTrainer(Device& device, const Config& config, const TrainTask& task,
                             DeviceStack& policy, DeviceStack& target,
                             const PolicyGradientNets& nets)
    : device_(device),
      interval_(config.policy.update_interval),
      rate_(config.policy.learning_rate),
      memory_(device, target_planner(config), batch_shape(config, task), rollout_nets(config, nets),
              &nets.critic),
      net_(device, 1, policy.spec(), memory_.rollout().stride, policy.parameters(),
           target.parameters()),
      state_(device.allocate(static_cast<std::size_t>(config.critic.batch_size) * task.nx *
                             sizeof(float))) {
  const PlannerConfig planner = target_planner(config);
  const PlannerConstants values(planner, batch_shape(config, task));
  PolicyGradientJob& j = job_;
  j.rollout = memory_.rollout();
  j.rollout.start = state();
  j.rollout.policy_input = net_.input();
  j.critic = nets.critic;
  j.learned_reward = task.outputs.reward;
  j.learned_termination = task.outputs.termination;
  j.handle_terminations = planner.handle_terminations;
  j.discount = memory_.constant(values.discount);
  if (through_models(config) && planner.prior == Prior::gaussian)
    j.temperature = static_cast<float>(planner.temperature);
  j.inverse_variance = memory_.constant(values.inverse_variance);
  if (values.covariance.full()) j.inverse = memory_.constant(values.covariance.inverse());
  int widest = 1;
  for (const FlatNet* net : {&nets.policy, &nets.members, &nets.critic})
    widest = std::max({widest, net->width, net->out});
  j.dx = memory_.columns(task.nx);
  j.da = memory_.columns(task.nu);
  for (float*& dz : j.dz) dz = memory_.columns(widest);
  j.model_slope = memory_.columns(task.nx + task.nu);
  j.slope = memory_.columns(task.nu);
  j.imagined.steps = config.critic.imagined_steps;
  j.imagined.target = nets.target;
  j.imagined.critics = nets.critics;
  j.imagined.gamma = planner.gamma;
  j.imagined.end_cost = static_cast<float>(planner.termination_cost);
  j.imagined.value = memory_.columns(1);
  j.imagined.goal = memory_.columns(1);
  net_.stack().slope = j.slope;
  net_.stack().tau = static_cast<float>(config.policy.tau);
  load_kernels(task);
}

void PolicyTrainer::feed(TrainNet& batch) {
  const int columns = job_.rollout.chunks() * kTrainRows;  // of one step, and of the batch's rows
  TrainStack& s = batch.stack();
  s.first_imagined = columns;
  s.imagined = job_.imagined.steps * columns;
  s.imagined_goal = job_.imagined.goal;
  s.alive = job_.rollout.alive;
  s.imagined_scale = 1.0 / (job_.imagined.steps * job_.rollout.rows);
  job_.imagined.input = batch.input() + columns;
  job_.imagined.stride = s.stride;
}

void PolicyTrainer::load_kernels(const TrainTask& task) {
  KernelSource source;
  source.header = "policy_rollout.cuh";
  source.job = "PolicyGradientJob";
  source.threads = kTrainThreads;
  // without, the kernels serve every task
  if (job_.handle_terminations && !job_.learned_termination) {
    source.constants.nx = task.nx;
    source.constants.nu = task.nu;
    source.host_rules = task.reward;
    source.rules = task.reward->device_rules();
    job_.rule_parameters = memory_.constant(source.rules.parameters);
  }
  source.call = "policy_gradient<Rules>";
  gradient_ = device_.load(source);
  if (!imagines()) return;
  source.call = "policy_imagine<Rules>";
  imagine_ = device_.load(source);
}

void PolicyTrainer::launch(const Kernel& kernel, const TrainCounters* counters) {
  job_.counters = counters;
  device_.launch(kernel,
                 {.blocks = job_.rollout.chunks(),
                  .threads = kTrainThreads,
                  .shared_bytes = sizeof(TrainMemory)},
                 job_);
}

}  // namespace softmpc::cuda
