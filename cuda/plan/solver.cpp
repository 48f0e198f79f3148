// SPDX-License-Identifier: Apache-2.0
#include "plan/solver.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "kernels/tile_memory.h"
#include "kernels/update_shape.h"
#include "plan/dispatch.h"
#include "planner_inputs.h"
#include "softmpc/error.h"

namespace softmpc::cuda {
namespace {

int hidden_layers(const DeviceStack& net) { return net.spec().depth() - 1; }

/// Of a launch with a thread for each entry.
LaunchShape entries_shape(int entries) {
  constexpr int kThreads = 256;
  return {.blocks = (entries + kThreads - 1) / kThreads, .threads = kThreads};
}

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
  k.uniform_prior = c.prior == Prior::uniform;
  k.policy_residual = policy;
  k.member_draw = static_cast<int>(c.member_draw);
  k.handle_terminations = c.handle_terminations;
  k.learned_reward = nets.outputs.reward;
  k.learned_termination = nets.outputs.termination;
  k.costly_end = c.termination_cost > 0;
  k.fixed_noise = traced;
  k.correlated = !c.covariance.empty();
  k.members = 1;
  k.particles = c.particles;
  if (nets.critics) {
    k.critic_layers = hidden_layers(*nets.critics);
    k.critic_width = nets.critics->width();
    k.critic_norm = nets.critics->norm_units();
  }
  if (nets.analytic_dynamics) return k;
  k.members = nets.dynamics->stack();
  k.dynamics_layers = hidden_layers(*nets.dynamics);
  k.policy_layers = policy ? hidden_layers(*nets.policy) : 0;
  k.dynamics_outputs = nets.dynamics->planned();
  k.dynamics_width = nets.dynamics->width();
  k.dynamics_norm = nets.dynamics->norm_units();
  k.policy_norm = policy ? nets.policy->norm_units() : 0;
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

/// What devices know of a planner's models; empty where there is none.
struct SolverRules {
  DeviceRules reward, dynamics, value;
};

SolverRules rules_of(const RewardModel* reward, const DynamicsModel* dynamics,
                     const TerminalValue* value) {
  SolverRules rules;
  if (reward) rules.reward = reward->device_rules();
  if (dynamics) rules.dynamics = dynamics->device_rules();
  if (value) rules.value = value->device_rules();
  return rules;
}

void require_rules(const char* what, const DeviceRules& rules, const char* model) {
  if (rules.type.empty())
    throw Error(std::string("planner: the ") + what + " has no rules for a device; " + model +
                "::device_rules() gives them");
}

void check_rules(const PlannerConfig& config, const SolverNets& nets, const SolverRules& rules) {
  if (!nets.outputs.reward || (config.handle_terminations && !nets.outputs.termination))
    require_rules("reward", rules.reward, "RewardModel");
  if (!nets.analytic_dynamics) return;
  require_rules("dynamics model", rules.dynamics, "DynamicsModel");
  if (!nets.critics) require_rules("terminal value", rules.value, "TerminalValue");
}

/// Parameters of one model's rules on the device.
class RuleMemory {
 public:
  RuleMemory(Device& device, const DeviceRules& rules)
      : device_(device), rules_(rules), memory_(constant_array(device, rules.parameters)) {}
  const float* data() const { return memory_->as<float>(); }
  void update(const DeviceRules& rules) {
    if (rules.type != rules_.type || rules.source != rules_.source)
      throw Error("planner: update() has rules of type '" + rules.type +
                  "', the planner was created with '" + rules_.type + "'");
    if (rules.parameters.size() != rules_.parameters.size())
      throw Error("planner: the rules " + rules.type + " have " +
                  std::to_string(rules.parameters.size()) + " parameters, were created with " +
                  std::to_string(rules_.parameters.size()));
    copy(rules.parameters);
  }
  std::size_t count() const { return rules_.parameters.size(); }
  /// `parameters` [count()].
  void copy(std::span<const float> parameters) {
    if (parameters.empty()) return;
    device_.upload(memory_->data(), parameters.data(), parameters.size_bytes());
    device_.synchronise();
  }

 private:
  Device& device_;
  DeviceRules rules_;
  std::unique_ptr<Memory> memory_;
};

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
  std::shared_ptr<Kernel> rollout, update, average, residual, charge;
  std::unique_ptr<Memory> sigma, inverse_variance, factor, inverse, neutral, low, high, discount;
  std::unique_ptr<RuleMemory> reward_rules, dynamics_rules, value_rules;
  std::unique_ptr<Memory> cost, valid, mu, residual_plan, charged_plan, between, segments, tickets;
  double uniform_constant = 0;
  int last_problems = 0;

  void choose(Path path);
  void load_rollout(Path path, const SolverRules& rules);
  LaunchShape rollout_shape(int problems) const;
  /// A kernel of update.cuh.
  std::shared_ptr<Kernel> load_update(const char* call, const char* job) const {
    return device.load({.call = call, .header = "update.cuh", .job = job, .constants = constants});
  }
  void allocate();
  void allocate_costs(std::size_t plan_bytes);
  const float* cost_plan(const float* plan, int problems) const;
  void average_costs(int problems) const;
  void set_networks(RolloutJob& job, int critic) const;
};

Solver::Solver(Device& device, const PlannerConfig& config, const ProblemShape& shape,
               const SolverNets& nets, DeviceOptions options, bool traced)
    : impl_(std::make_unique<Impl>(device, config, shape, nets)) {
  check_shape(config, shape);
  Impl& s = *impl_;
  const SolverRules rules = rules_of(nets.reward, nets.analytic_dynamics, nets.analytic_value);
  if (!device.facts().runs_host_rules) check_rules(config, nets, rules);
  s.constants = kernel_constants(config, shape, nets, traced);
  s.load_rollout(options.path, rules);
  // Where the device runs fewer clusters at a time than it has processors for, they take a second
  // wave, and tiles do not.
  if (options.path == Path::automatic && s.choice.path == Path::cluster &&
      s.rollout_shape(shape.max_problems).blocks >
          s.choice.shape.cluster * device.clusters_at_a_time(*s.rollout, s.choice.shape)) {
    s.load_rollout(Path::tile, rules);
    s.choice.why += ", as " + device.facts().name + " does not run enough clusters at a time";
  }
  s.reward_rules = std::make_unique<RuleMemory>(device, rules.reward);
  s.dynamics_rules = std::make_unique<RuleMemory>(device, rules.dynamics);
  s.value_rules = std::make_unique<RuleMemory>(device, rules.value);
  s.update = s.load_update("update_plans<Sizes>", "RolloutJob");
  if (config.particles > 1) s.average = s.load_update("average_particles<Sizes>", "ParticleJob");
  s.allocate();
}

void Solver::Impl::load_rollout(Path path, const SolverRules& rules) {
  choose(path);
  KernelSource& source = choice.source;
  source.host_rules = nets.reward;
  source.host_dynamics = nets.analytic_dynamics;
  source.host_value = nets.analytic_value;
  source.rules = rules.reward;
  source.dynamics = rules.dynamics;
  source.value = rules.value;
  rollout = device.load(source);
}

void Solver::Impl::choose(Path path) {
  const std::int64_t rollouts = static_cast<std::int64_t>(shape.max_problems) * config.rollouts;
  if (nets.analytic_dynamics) {
    choice = choose_analytic(constants, rollouts, device.facts(), path);
  } else {
    const Number number = Solver::number(config.precision);
    choice =
        choose_rollout(constants, {number, nets.dynamics->operands(), nets.critics->operands()},
                       rollouts, device.facts(), path);
  }
  for (DeviceStack* stack : {nets.dynamics, nets.critics, nets.policy})
    if (stack) stack->require(choice.order);
}

void Solver::Impl::allocate() {
  const PlannerConstants values(config, shape);
  sigma = constant_array(device, values.sigma);
  inverse_variance = constant_array(device, values.inverse_variance);
  factor = constant_array(device, values.covariance.factor());
  inverse = constant_array(device, values.covariance.inverse());
  neutral = constant_array(device, values.neutral);
  low = constant_array(device, values.low);
  high = constant_array(device, values.high);
  discount = constant_array(device, values.discount);
  uniform_constant = values.uniform;
  const std::size_t problems = shape.max_problems, most = problems * config.rollouts;
  const std::size_t plans = problems * (config.horizon + 1) * shape.nu * sizeof(float);
  cost = device.allocate(most * sizeof(float));
  valid = device.allocate(most);
  mu = device.allocate(problems * shape.nu * sizeof(float));
  const std::size_t numbers = update_numbers(config.rollouts, config.horizon, shape.nu);
  segments = device.allocate(problems * numbers * sizeof(double));
  tickets = device.allocate(problems * sizeof(std::uint32_t));
  if (config.iterations > 1) between = device.allocate(plans);
  allocate_costs(plans);
}

/// Where the u of S is not the plan itself.
void Solver::Impl::allocate_costs(std::size_t plan_bytes) {
  if (config.control_mode == ControlMode::mean_residual) {
    residual_plan = device.allocate(plan_bytes);
    residual = load_update("residual_plans<Sizes>", "ResidualJob");
  }
  if (constants.correlated && !constants.uniform_prior) {
    charged_plan = device.allocate(plan_bytes);
    charge = load_update("charged_plans<Sizes>", "ChargeJob");
  }
}

/// Costs of rollouts become those of their action sequences.
void Solver::Impl::average_costs(int problems) const {
  if (!average) return;
  const ParticleJob job = {cost->as<float>(), valid->as<std::uint8_t>(), problems};
  device.launch(*average, entries_shape(problems * (config.rollouts / config.particles)), job);
}

/// Launches what computes the u of S from the plan; where it lies.
const float* Solver::Impl::cost_plan(const float* plan, int problems) const {
  const float* u = plan;
  if (residual) {
    const ResidualJob job = {u, residual_plan->as<float>(), problems};
    device.launch(*residual, entries_shape(problems * shape.nu), job);
    u = residual_plan->as<float>();
  }
  if (charge) {
    const ChargeJob job = {u, inverse->as<float>(), charged_plan->as<float>(), problems};
    device.launch(*charge, entries_shape(problems * (config.horizon + 1) * shape.nu), job);
    u = charged_plan->as<float>();
  }
  return u;
}

Solver::~Solver() = default;

void Solver::update_rules(const RewardModel* reward, const DynamicsModel* dynamics,
                          const TerminalValue* value) {
  const SolverRules rules = rules_of(reward, dynamics, value);
  if (reward) impl_->reward_rules->update(rules.reward);
  if (dynamics) impl_->dynamics_rules->update(rules.dynamics);
  if (value) impl_->value_rules->update(rules.value);
}

void Solver::update_bounds(const PlannerConstants& constants) {
  Impl& s = *impl_;
  const auto copy = [&s](Memory& to, const std::vector<float>& from) {
    s.device.upload(to.data(), from.data(), from.size() * sizeof(float));
  };
  copy(*s.sigma, constants.sigma);
  copy(*s.inverse_variance, constants.inverse_variance);
  copy(*s.low, constants.low);
  copy(*s.high, constants.high);
  s.device.synchronise();
  s.uniform_constant = constants.uniform;
}

bool Solver::fits_reward(std::size_t parameters) const {
  return parameters == impl_->reward_rules->count();
}

void Solver::update_parameters(std::span<const float> parameters) {
  impl_->reward_rules->copy(parameters);
}

void Solver::Impl::set_networks(RolloutJob& job, int critic) const {
  if (nets.dynamics) job.dynamics = nets.dynamics->view(choice.order);
  if (nets.critics) job.critic = nets.critics->view(choice.order);
  if (constants.policy_residual) job.policy = nets.policy->view(choice.order);
  job.critic_index = critic;
}

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
  job.cost_plan = s.cost_plan(job.plan, problems);
  job.fixed_noise = arrays.fixed_noise;
  job.fixed_member = arrays.fixed_member;
  job.problems = problems;
  job.iteration = iteration;
  job.sigma = s.sigma->as<float>();
  job.inverse_variance = s.inverse_variance->as<float>();
  job.factor = s.factor->as<float>();
  job.inverse = s.inverse->as<float>();
  job.neutral = s.neutral->as<float>();
  job.low = s.low->as<float>();
  job.high = s.high->as<float>();
  job.discount = s.discount->as<float>();
  job.end_cost = static_cast<float>(s.config.termination_cost);
  job.temperature = static_cast<float>(s.config.temperature);
  job.inverse_temperature = static_cast<float>(1.0 / s.config.temperature);
  job.uniform_constant = s.uniform_constant;
  s.set_networks(job, critic);
  job.rule_parameters = s.reward_rules->data();
  job.dynamics_parameters = s.dynamics_rules->data();
  job.value_parameters = s.value_rules->data();
  job.ring_stages = s.choice.ring_stages;
  job.segments = s.segments->as<double>();
  job.tickets = s.tickets->as<std::uint32_t>();
  job.cost = s.cost->as<float>();
  job.valid = s.valid->as<std::uint8_t>();
  job.mu = s.mu->as<float>();
  job.refined = plan_after(arrays, iteration);
  job.action = arrays.action;
  job.result = arrays.result;
  s.device.launch(*s.rollout, s.rollout_shape(problems), job);
  s.average_costs(problems);
  s.device.launch(
      *s.update,
      {.blocks = problems * update_blocks(s.config.rollouts, s.config.horizon, s.shape.nu),
       .threads = 256,
       .shared_bytes = kUpdateSharedBytes},
      job);
}

LaunchShape Solver::Impl::rollout_shape(int problems) const {
  const std::int64_t rollouts = static_cast<std::int64_t>(problems) * config.rollouts;
  LaunchShape launch = choice.shape;
  launch.blocks = static_cast<int>((rollouts + choice.slots - 1) / choice.slots) * launch.cluster;
  return launch;
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
  d.blocks = s.last_problems > 0 ? s.rollout_shape(s.last_problems).blocks : 0;
  for (const auto& kernel : {s.rollout, s.update, s.average, s.residual, s.charge}) {
    if (!kernel) continue;
    const KernelFacts facts = kernel->facts();
    const bool compiled = facts.origin == Origin::compiler;
    ++(compiled ? d.compiled : facts.origin == Origin::cache ? d.cached : d.carried);
    (compiled ? d.compile_seconds : d.load_seconds) += facts.seconds;
    if (!facts.not_kept.empty()) d.not_kept = facts.not_kept;
  }
  return d;
}

}  // namespace softmpc::cuda
