// SPDX-License-Identifier: Apache-2.0
// What a DeviceTrainer allocates, and its state on the host.
#include <algorithm>

#include "planner_inputs.h"
#include "softmpc/error.h"
#include "train/device_trainer_impl.h"

namespace softmpc::cuda {
namespace {

ProblemShape problem_shape(const TrainTask& t, int problems) {
  return {t.nx, t.nu, t.action_low, t.action_high, problems};
}

int planned_outputs(const TrainTask& t) { return t.nx + t.outputs.reward + t.outputs.termination; }

/// Transitions that a run can store: memory follows its length where that is shorter.
std::int64_t slots_of(const TrainerConfig& c) {
  return std::min(c.replay_capacity, c.steps + c.envs);
}

/// Rows of the critics' batch and, in whole chunks, of the imagined steps behind them.
int critic_columns(const Config& c) {
  const int rows = c.critic.batch_size;
  return rows + c.critic.imagined_steps * parts_of(rows, kTrainRows) * kTrainRows;
}

}  // namespace

NormArrays::NormArrays(Device& device, const NetSpec& spec)
    : memory(device.allocate((3 * spec.inputs + 2 * spec.outputs()) * sizeof(float))),
      in(spec.inputs),
      out(spec.outputs()) {}

void NormArrays::upload(Device& device, const NetNormalisation& n) {
  std::vector<float> values;
  for (const auto* v : {&n.input_mean, &n.input_std, &n.output_mean, &n.output_std})
    values.insert(values.end(), v->begin(), v->end());
  for (float std : n.input_std) values.push_back(1 / std);
  device.upload(memory->data(), values.data(), memory->size());
  device.synchronise();
}

TrainNorm NormArrays::view() const {
  const float* n = memory->as<float>();
  return {n, n + in, n + 2 * in, n + 2 * in + out, n + 2 * in + 2 * out};
}

FlatNet NormArrays::apply(FlatNet net) const {
  const TrainNorm norm = view();
  net.input_mean = norm.input_mean;
  net.input_scale = norm.input_scale;
  net.output_mean = norm.output_mean;
  net.output_std = norm.output_std;
  return net;
}

DeviceTrainer::Impl::Impl(const Config& c, const TrainTask& t, const TrainWeights& weights,
                          std::shared_ptr<Device> d)
    : device(std::move(d)),
      config(c),
      task(t),
      environments(c.trainer.envs),
      rows(c.critic.batch_size),
      plan((c.planner.horizon + 1) * t.nu),
      target_plan((target_planner(c).horizon + 1) * t.nu),
      slots(slots_of(c.trainer)),
      shape(problem_shape(t, c.trainer.envs)),
      members(*device, weights.members.stack, weights.members.spec,
              Solver::number(c.planner.precision),
              member_operands(Solver::number(c.planner.precision)), planned_outputs(t)),
      critics(*device, weights.critics.stack, weights.critics.spec,
              Solver::number(c.planner.precision),
              critic_operands(Solver::number(c.planner.precision))),
      targets(*device, weights.critics.stack, weights.critics.spec,
              Solver::number(c.planner.precision),
              critic_operands(Solver::number(c.planner.precision))),
      member_net(*device, weights.members.stack, weights.members.spec, c.model.batch_size,
                 members.parameters()),
      critic_net(*device, weights.critics.stack, weights.critics.spec, critic_columns(c),
                 critics.parameters(), targets.parameters()),
      member_norm(*device, weights.members.spec),
      critic_norm(*device, weights.critics.spec),
      step(*device) {
  member_norm.upload(*device, weights.members.normalisation);
  critic_norm.upload(*device, weights.critics.normalisation);
  if (plans_with_policy(c.planner)) make_policy(weights.policy);
  make_solvers();
  // behind the solvers, which say in what order they read the weights
  members.upload(weights.members);
  critics.upload(weights.critics);
  targets.upload(weights.critics);
  load_kernels();
  allocate_batches();
  set_losses();
  write_counters();
}

void DeviceTrainer::Impl::make_policy(const NetWeights& weights) {
  for (auto* net : {&policy, &policy_target}) {
    net->emplace(*device, 1, weights.spec, Number::f32, Operands::single);
    (*net)->upload(weights);
  }
  PolicyGradientNets nets = {policy->flat(),
                             member_norm.apply(members.flat()),
                             critic_norm.apply(critics.flat()),
                             critic_norm.apply(targets.flat()),
                             members.stack(),
                             critics.stack()};
  nets.policy.input_mean = nets.critic.input_mean;
  nets.policy.input_scale = nets.critic.input_scale;
  policy_trainer =
      std::make_unique<PolicyTrainer>(*device, config, task, *policy, *policy_target, nets);
  if (imagines()) policy_trainer->feed(critic_net);
}

/// The policy with the constants of the planners' critics, which it shares.
std::optional<FlatNet> DeviceTrainer::Impl::proposing_net() const {
  if (!policy) return std::nullopt;
  FlatNet net = policy->flat();
  net.input_mean = critics.flat().input_mean;
  net.input_scale = critics.flat().input_scale;
  return net;
}

void DeviceTrainer::Impl::make_solvers() {
  const SolverNets nets = {&members, &critics, nullptr, task.outputs, task.reward};
  SolverNets target_nets = nets;
  target_nets.critics = &targets;
  online = std::make_unique<ProposingSolver>(*device, config.planner, shape, nets, proposing_net());
  target_solver = std::make_unique<ProposingSolver>(
      *device, target_planner(config), problem_shape(task, rows), target_nets, proposing_net());
}

void DeviceTrainer::Impl::load_kernels() {
  const auto load = [&](const char* call, const char* job) {
    KernelSource source;
    source.call = call;
    source.header = "train_replay.cuh";
    source.job = job;
    source.threads = kTrainThreads;
    return device->load(source);
  };
  act_kernel = load("train_act", "ActJob");
  sample_kernel = load("train_sample", "SampleJob");
  finish_kernel = load("train_finish", "FinishJob");
}

void DeviceTrainer::Impl::allocate_batches() {
  const auto floats = [&](std::size_t count) { return device->allocate(count * sizeof(float)); };
  const std::size_t n = environments, b = rows, nx = task.nx, nu = task.nu;
  const std::size_t stack = critics.stack(), p = plan;
  records = floats(slots * (2 * nx + nu + 2));
  plans = floats(slots * p);
  counters = device->allocate(sizeof(TrainCounters));
  sums = device->allocate(sizeof(TrainSums));
  const PlannerConstants constants(config.planner, shape);
  sigma = floats(nu);
  write(sigma->as<float>(), constants.sigma);
  if (constants.covariance.full()) {
    factor = floats(nu * nu);
    write(factor->as<float>(), constants.covariance.factor());
  }

  const ActInput in(environments, task.nx, task.nu);
  const ActOutput out(environments, task.nu);
  stage = device->allocate_host(in.bytes);
  flushed = device->allocate_host(in.bytes);
  input = device->allocate(in.bytes);
  output = device->allocate(out.bytes);
  host_output = device->allocate_host(out.bytes);
  observation = floats(n * nx);
  start = floats(n * p);
  refined = floats(n * p);
  header = device->allocate(sizeof(SolveHeader));

  slot = device->allocate(b * sizeof(std::int64_t));
  reward = TrainNet::columns(*device, 1, rows);
  critic_end = TrainNet::columns(*device, 1, rows);
  next = floats(b * nx);
  target_start = floats(b * target_plan);
  target_refined = floats(stack * b * target_plan);
  target_results = device->allocate(stack * b * sizeof(ProblemResult));
  target_header = device->allocate(stack * sizeof(SolveHeader));
  target_action = floats(b * nu);
  goal = TrainNet::columns(*device, task.nx + task.outputs.reward, config.model.batch_size);
  model_end = TrainNet::columns(*device, 1, config.model.batch_size);
  action.resize(n * nu);
  value.resize(n);
  samples.resize(n);
  status.resize(n);
  for (int e = 0; e < environments; ++e) row(e).slot = -1;
}

// --- state

std::vector<float> DeviceTrainer::Impl::read(const float* from, std::size_t count) const {
  std::vector<float> values(count);
  device->download(values.data(), from, count * sizeof(float));
  device->synchronise();
  return values;
}

void DeviceTrainer::Impl::write(float* to, std::span<const float> values) {
  device->upload(to, values.data(), values.size_bytes());
  device->synchronise();
}

void DeviceTrainer::Impl::write_counters() {
  TrainCounters c{};
  c.seed = config.trainer.seed;
  c.draws = draws;
  c.slots = std::min(added, config.trainer.replay_capacity);
  c.solves = solves;
  c.critic_steps = critic_steps;
  c.model_steps = model_steps;
  c.policy_steps = policy_steps;
  device->upload(counters->data(), &c, sizeof c);
  device->synchronise();
}

void DeviceTrainer::set_batch_normalisation(const NetNormalisation& members,
                                            const NetNormalisation& critics) {
  impl_->member_norm.upload(*impl_->device, members);
  impl_->critic_norm.upload(*impl_->device, critics);
}

void DeviceTrainer::set_net_normalisation(const NetNormalisation& members,
                                          const NetNormalisation& critics) {
  impl_->members.upload_normalisation(members);
  impl_->critics.upload_normalisation(critics);
  impl_->targets.upload_normalisation(critics);
}

void DeviceTrainer::read_weights(TrainWeights& weights) const {
  impl_->members.download(weights.members);
  impl_->critics.download(weights.critics);
  if (impl_->policy) impl_->policy->download(weights.policy);
}

DeviceTrainerState DeviceTrainer::read_state() const {
  Impl& t = *impl_;
  t.flush();
  const auto stack = [&](const TrainNet& net) {
    const TrainStack& s = net.stack();
    const std::size_t count = net.parameter_count();
    return StackState{t.read(s.parameters, count), t.read(s.mean, count),
                      t.read(s.variance, count)};
  };
  DeviceTrainerState state;
  state.members = stack(t.member_net);
  state.critics = stack(t.critic_net);
  state.targets = t.read(t.targets.parameters(), t.critic_net.parameter_count());
  if (t.policy_trainer) {
    const TrainNet& net = t.policy_trainer->net();
    state.policy = stack(net);
    state.policy_target = t.read(net.stack().target, net.parameter_count());
  }
  state.plan = t.read(t.refined->as<float>(), t.refined->size() / sizeof(float));
  state.model_steps = t.model_steps;
  state.critic_steps = t.critic_steps;
  state.policy_steps = t.policy_steps;
  state.added = t.added;
  state.draws = t.draws;
  state.solves = t.solves;
  return state;
}

void DeviceTrainer::write_state(const DeviceTrainerState& state) {
  Impl& t = *impl_;
  if (std::min(state.added, t.config.trainer.replay_capacity) > t.slots)
    throw Error("trainer state: " + std::to_string(state.added) +
                " transitions are stored, trainer.steps gives room for " + std::to_string(t.slots));
  const auto put = [&](const char* what, float* to, std::size_t count,
                       const std::vector<float>& values) {
    if (values.size() != count)
      throw Error(std::string("trainer state: ") + what + " has " + std::to_string(values.size()) +
                  " values; " + std::to_string(count) + " were expected");
    t.write(to, values);
  };
  const auto stack = [&](const char* what, TrainNet& net, const StackState& from) {
    const TrainStack& s = net.stack();
    put(what, s.parameters, net.parameter_count(), from.parameters);
    put(what, s.mean, net.parameter_count(), from.mean);
    put(what, s.variance, net.parameter_count(), from.variance);
  };
  stack("members", t.member_net, state.members);
  stack("critics", t.critic_net, state.critics);
  put("targets", t.targets.parameters(), t.critic_net.parameter_count(), state.targets);
  if (t.policy_trainer) {
    TrainNet& net = t.policy_trainer->net();
    stack("policy", net, state.policy);
    put("policy target", net.stack().target, net.parameter_count(), state.policy_target);
  }
  put("plan", t.refined->as<float>(), t.refined->size() / sizeof(float), state.plan);
  t.model_steps = state.model_steps;
  t.critic_steps = state.critic_steps;
  t.policy_steps = state.policy_steps;
  t.added = state.added;
  t.draws = state.draws;
  t.solves = state.solves;
  t.write_counters();
  for (DeviceStack* net : {&t.members, &t.critics, &t.targets}) net->pack();
  t.wait();
}

void DeviceTrainer::write_replay(std::int64_t first, std::span<const float> records,
                                 std::span<const float> plans) {
  Impl& t = *impl_;
  const int record = 2 * t.task.nx + t.task.nu + 2;
  t.write(t.records->as<float>() + first * record, records);
  t.write(t.plans->as<float>() + first * t.plan, plans);
}

void DeviceTrainer::read_replay(std::int64_t first, std::span<float> records,
                                std::span<float> plans) const {
  Impl& t = *impl_;
  t.flush();
  const int record = 2 * t.task.nx + t.task.nu + 2;
  t.device->download(records.data(), t.records->as<float>() + first * record, records.size_bytes());
  t.device->download(plans.data(), t.plans->as<float>() + first * t.plan, plans.size_bytes());
  t.wait();
}

}  // namespace softmpc::cuda
