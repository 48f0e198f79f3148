// SPDX-License-Identifier: Apache-2.0
// What a DeviceTrainer allocates, and its state on the host.
#include <algorithm>
#include <numeric>

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

}  // namespace

NormArrays::NormArrays(Device& device, const NetSpec& spec)
    : memory(device.allocate(2 * (spec.inputs + spec.outputs()) * sizeof(float))),
      in(spec.inputs),
      out(spec.outputs()) {}

void NormArrays::upload(Device& device, const NetNormalisation& n) {
  std::vector<float> values;
  for (const auto* v : {&n.input_mean, &n.input_std, &n.output_mean, &n.output_std})
    values.insert(values.end(), v->begin(), v->end());
  device.upload(memory->data(), values.data(), memory->size());
  device.synchronise();
}

TrainNorm NormArrays::view() const {
  const float* n = memory->as<float>();
  return {n, n + in, n + 2 * in, n + 2 * in + out};
}

DeviceTrainer::Impl::Impl(const Config& c, const TrainTask& t, const NetWeights& member_weights,
                          const NetWeights& critic_weights, std::shared_ptr<Device> d)
    : device(std::move(d)),
      config(c),
      task(t),
      environments(c.trainer.envs),
      rows(c.critic.batch_size),
      plan((c.planner.horizon + 1) * t.nu),
      slots(slots_of(c.trainer)),
      shape(problem_shape(t, c.trainer.envs)),
      members(*device, member_weights.stack, member_weights.spec,
              Solver::number(c.planner.precision),
              member_operands(Solver::number(c.planner.precision)), planned_outputs(t)),
      critics(*device, critic_weights.stack, critic_weights.spec,
              Solver::number(c.planner.precision),
              critic_operands(Solver::number(c.planner.precision))),
      targets(*device, critic_weights.stack, critic_weights.spec,
              Solver::number(c.planner.precision),
              critic_operands(Solver::number(c.planner.precision))),
      member_net(*device, member_weights.stack, member_weights.spec, c.model.batch_size,
                 members.parameters()),
      critic_net(*device, critic_weights.stack, critic_weights.spec, rows, critics.parameters(),
                 targets.parameters()),
      member_norm(*device, member_weights.spec),
      critic_norm(*device, critic_weights.spec),
      step(*device) {
  member_norm.upload(*device, member_weights.normalisation);
  critic_norm.upload(*device, critic_weights.normalisation);
  const SolverNets nets = {&members, &critics, nullptr, task.outputs, task.reward};
  SolverNets target_nets = nets;
  target_nets.critics = &targets;
  online = std::make_unique<Solver>(*device, c.planner, shape, nets, DeviceOptions{});
  target_solver = std::make_unique<Solver>(*device, target_planner(c), problem_shape(t, rows),
                                           target_nets, DeviceOptions{});
  // behind the solvers, which say in what order they read the weights
  members.upload(member_weights);
  critics.upload(critic_weights);
  targets.upload(critic_weights);
  load_kernels();
  allocate_batches();
  set_losses();
  write_counters();
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

  const ActInput in(environments, task.nx);
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
  std::vector<std::uint32_t> numbers(std::max(n, b));
  std::iota(numbers.begin(), numbers.end(), 0u);
  ids = device->allocate(numbers.size() * sizeof(std::uint32_t));
  device->upload(ids->data(), numbers.data(), ids->size());
  device->synchronise();

  slot = device->allocate(b * sizeof(std::int64_t));
  reward = TrainNet::columns(*device, 1, rows);
  critic_end = TrainNet::columns(*device, 1, rows);
  next = floats(b * nx);
  target_start = floats(b * p);
  target_refined = floats(stack * b * p);
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

void DeviceTrainer::read_weights(NetWeights& members, NetWeights& critics) const {
  impl_->members.download(members);
  impl_->critics.download(critics);
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
  state.plan = t.read(t.refined->as<float>(), t.refined->size() / sizeof(float));
  state.model_steps = t.model_steps;
  state.critic_steps = t.critic_steps;
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
  put("plan", t.refined->as<float>(), t.refined->size() / sizeof(float), state.plan);
  t.model_steps = state.model_steps;
  t.critic_steps = state.critic_steps;
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
