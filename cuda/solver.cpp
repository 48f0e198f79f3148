// SPDX-License-Identifier: Apache-2.0
#include "solver.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "dispatch.h"
#include "kernels/tile_memory.h"
#include "kernels/update_shape.h"
#include "planner_inputs.h"
#include "softmpc/error.h"

namespace softmpc::cuda {
namespace {

int hidden_layers(const DeviceStack& net) { return static_cast<int>(net.sizes().size()) - 2; }

KernelConstants kernel_constants(const PlannerConfig& c, const ProblemShape& s,
                                 const SolverNets& nets, bool traced) {
  static_assert(static_cast<int>(MemberDraw::per_step) == kPerStep &&
                static_cast<int>(MemberDraw::per_rollout_step) == kPerRolloutStep &&
                static_cast<int>(MemberDraw::per_rollout) == kPerRollout);
  const bool policy = c.control_mode == ControlMode::policy_residual;
  KernelConstants k;
  k.nx = s.nx;
  k.nu = s.nu;
  k.rollouts = c.rollouts;
  k.horizon = c.horizon;
  k.members = nets.dynamics->stack();
  k.dynamics_layers = hidden_layers(*nets.dynamics);
  k.critic_layers = hidden_layers(*nets.critics);
  k.policy_layers = policy ? hidden_layers(*nets.policy) : 0;
  k.dynamics_outputs = nets.dynamics->planned();
  k.uniform_prior = c.prior == Prior::uniform;
  k.policy_residual = policy;
  k.member_draw = static_cast<int>(c.member_draw);
  k.handle_terminations = c.handle_terminations;
  k.learned_reward = nets.outputs.reward;
  k.learned_termination = nets.outputs.termination;
  k.has_termination =
      nets.outputs.termination || (nets.reward != nullptr && nets.reward->has_termination());
  k.fixed_noise = traced;
  k.dynamics_width = nets.dynamics->width();
  k.critic_width = nets.critics->width();
  // the width sizes arrays even where no policy is evaluated
  k.policy_width = policy ? nets.policy->width() : k.critic_width;
  return k;
}

template <class T>
std::unique_ptr<Memory> constant_array(Device& device, const std::vector<T>& values) {
  auto memory = device.allocate(std::max<std::size_t>(values.size(), 1) * sizeof(T));
  device.upload(memory->data(), values.data(), values.size() * sizeof(T));
  device.synchronise();
  return memory;
}

}  // namespace

Operands member_operands(Number number, const DeviceOptions& options) {
  return number == Number::f32 || !options.split_edges ? Operands::single : Operands::edges;
}

Operands critic_operands(Number number, const DeviceOptions& options) {
  return number == Number::f32 || !options.split_critic ? Operands::single : Operands::split;
}

Number Solver::number(Precision precision) {
  switch (precision) {
    case Precision::float32:
      return Number::f32;
    case Precision::bfloat16:
      return Number::bf16;
    case Precision::float16:
    case Precision::automatic:
      break;
  }
  return Number::f16;
}

struct Solver::Impl {
  Impl(Device& d, const PlannerConfig& c, const ProblemShape& s, const SolverNets& n)
      : device(d), config(c), shape(s), nets(n) {}

  Device& device;
  PlannerConfig config;
  ProblemShape shape;
  SolverNets nets;
  KernelConstants constants;
  RolloutChoice choice;
  std::shared_ptr<Kernel> rollout, update, residual;
  std::unique_ptr<Memory> sigma, inverse_variance, low, high, discount, parameters;
  std::unique_ptr<Memory> cost, valid, mu, cost_plan, between;
  double uniform_constant = 0;
  int last_problems = 0;
};

Solver::Solver(Device& device, const PlannerConfig& config, const ProblemShape& shape,
               const SolverNets& nets, DeviceOptions options, bool traced)
    : impl_(std::make_unique<Impl>(device, config, shape, nets)) {
  check_shape(config, shape);
  Impl& s = *impl_;
  DeviceRules rules;
  if (nets.reward) rules = nets.reward->device_rules();
  const bool needs_rules =
      !nets.outputs.reward || (config.handle_terminations && !nets.outputs.termination);
  if (needs_rules && rules.type.empty() && !device.facts().runs_host_rules)
    throw Error(
        "planner: the reward has no rules for a device; RewardModel::device_rules() gives them");
  s.constants = kernel_constants(config, shape, nets, traced);
  const Number number = Solver::number(config.precision);
  const auto most = static_cast<std::size_t>(shape.max_problems) * config.rollouts;
  s.choice =
      choose_rollout(s.constants, {number, nets.dynamics->operands(), nets.critics->operands()},
                     static_cast<std::int64_t>(most), device.facts(), options.path);
  for (DeviceStack* stack : {nets.dynamics, nets.critics, nets.policy})
    if (stack) stack->require(s.choice.order);
  s.choice.source.rules = rules;
  s.choice.source.host_rules = nets.reward;
  s.rollout = device.load(s.choice.source);
  s.update = device.load({.call = "update_plans<Sizes>",
                          .header = "update.cuh",
                          .job = "RolloutJob",
                          .constants = s.constants});
  const PlannerConstants constants(config, shape);
  s.sigma = constant_array(device, constants.sigma);
  s.inverse_variance = constant_array(device, constants.inverse_variance);
  s.low = constant_array(device, shape.action_low);
  s.high = constant_array(device, shape.action_high);
  s.discount = constant_array(device, constants.discount);
  s.parameters = constant_array(device, rules.parameters);
  s.uniform_constant = constants.uniform;
  const std::size_t problems = shape.max_problems;
  const std::size_t plans = problems * (config.horizon + 1) * shape.nu * sizeof(float);
  s.cost = device.allocate(most * sizeof(float));
  s.valid = device.allocate(most);
  s.mu = device.allocate(problems * shape.nu * sizeof(float));
  if (config.iterations > 1) s.between = device.allocate(plans);
  if (config.control_mode == ControlMode::mean_residual) {
    s.cost_plan = device.allocate(plans);
    s.residual = device.load({.call = "residual_plans<Sizes>",
                              .header = "update.cuh",
                              .job = "ResidualJob",
                              .constants = s.constants});
  }
}

Solver::~Solver() = default;

void Solver::launch(const SolveArrays& arrays, int problems, int critic) {
  for (int i = 0; i < impl_->config.iterations; ++i) launch_iteration(arrays, problems, critic, i);
}

float* Solver::plan_after(const SolveArrays& arrays, int iteration) const {
  // the two arrays in turn, so that the last iteration writes to `refined`
  const bool last = (impl_->config.iterations - 1 - iteration) % 2 == 0;
  return last ? arrays.refined : impl_->between->as<float>();
}

void Solver::launch_iteration(const SolveArrays& arrays, int problems, int critic, int iteration) {
  Impl& s = *impl_;
  s.last_problems = problems;
  RolloutJob job = {};
  job.header = arrays.header;
  job.observation = arrays.observation;
  job.problem_id = arrays.problem_id;
  job.plan = iteration == 0 ? arrays.plan : plan_after(arrays, iteration - 1);
  job.cost_plan = s.cost_plan ? s.cost_plan->as<float>() : job.plan;
  job.fixed_noise = arrays.fixed_noise;
  job.fixed_member = arrays.fixed_member;
  job.problems = problems;
  job.iteration = iteration;
  job.sigma = s.sigma->as<float>();
  job.inverse_variance = s.inverse_variance->as<float>();
  job.low = s.low->as<float>();
  job.high = s.high->as<float>();
  job.discount = s.discount->as<float>();
  job.temperature = static_cast<float>(s.config.temperature);
  job.inverse_temperature = static_cast<float>(1.0 / s.config.temperature);
  job.uniform_constant = s.uniform_constant;
  job.dynamics = s.nets.dynamics->view(s.choice.order);
  job.critic = s.nets.critics->view(s.choice.order);
  if (s.constants.policy_residual) job.policy = s.nets.policy->view(s.choice.order);
  job.critic_index = critic;
  job.rule_parameters = s.parameters->as<float>();
  job.ring_stages = s.choice.ring_stages;
  job.cost = s.cost->as<float>();
  job.valid = s.valid->as<std::uint8_t>();
  job.mu = s.mu->as<float>();
  job.refined = plan_after(arrays, iteration);
  job.action = arrays.action;
  job.result = arrays.result;
  constexpr int kThreads = 256;
  if (s.residual) {
    const ResidualJob residual = {job.plan, s.cost_plan->as<float>(), problems};
    const int entries = problems * s.shape.nu;
    s.device.launch(*s.residual,
                    {.blocks = (entries + kThreads - 1) / kThreads, .threads = kThreads}, residual);
  }
  s.device.launch(*s.rollout, rollout_shape(problems), job);
  s.device.launch(
      *s.update,
      {.blocks = problems * update_blocks(s.config.rollouts, s.config.horizon, s.shape.nu),
       .threads = kThreads,
       .shared_bytes = kUpdateSharedBytes},
      job);
}

LaunchShape Solver::rollout_shape(int problems) const {
  const RolloutChoice& choice = impl_->choice;
  const std::int64_t rollouts = static_cast<std::int64_t>(problems) * impl_->config.rollouts;
  LaunchShape shape = choice.shape;
  shape.blocks = static_cast<int>((rollouts + choice.slots - 1) / choice.slots) * shape.cluster;
  return shape;
}

const float* Solver::cost() const { return impl_->cost->as<float>(); }
const std::uint8_t* Solver::valid() const { return impl_->valid->as<std::uint8_t>(); }

DeviceDiagnostics Solver::diagnostics() const {
  const Impl& s = *impl_;
  DeviceDiagnostics d;
  d.path = s.choice.path;
  d.device = s.device.facts().name;
  d.why = s.choice.why;
  const KernelFacts rollout = s.rollout->facts();
  d.registers = rollout.registers;
  d.shared_bytes = s.choice.shape.shared_bytes;
  d.blocks = s.last_problems > 0 ? rollout_shape(s.last_problems).blocks : 0;
  for (const auto& kernel : {s.rollout, s.update, s.residual}) {
    if (!kernel) continue;
    const KernelFacts facts = kernel->facts();
    (facts.from_cache ? d.load_seconds : d.compile_seconds) += facts.seconds;
  }
  return d;
}

}  // namespace softmpc::cuda
