// SPDX-License-Identifier: Apache-2.0
// One graph an act(), one a round of updates:
//   act     upload | store, shift | online plan | download
//   round   sample | target plan of each critic | rollouts of the policy |
//           forward, backward, Adam of members and critics | write back, count | pack
// Where the policy learns too, the critics step first and the members beside the policy, whose
// gradient goes through critics after their step and members before theirs.
#include "train/device_trainer.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "softmpc/error.h"
#include "train/device_trainer_impl.h"

namespace softmpc::cuda {
namespace {

constexpr int kWarps = kTrainThreads / 32;

int loss_number(Loss loss) {
  static_assert(static_cast<int>(Loss::mse) == kLossMse &&
                static_cast<int>(Loss::huber) == kLossHuber &&
                static_cast<int>(Loss::gaussian_nll) == kLossGaussian);
  return static_cast<int>(loss);
}

}  // namespace

std::string unsupported(const Config& c) {
  const auto only = [](const std::string& key, const char* value, const char* other) {
    return key + ": " + value + " is not available on a CUDA device; use " + other +
           " or trainer.device cpu";
  };
  if (c.planner.control_mode == ControlMode::policy_residual)
    return only("planner.control_mode", "policy_residual", "default or mean_residual");
  if (c.targets.source == TargetSource::policy) return only("targets.source", "policy", "planner");
  if (c.trainer.acting == Acting::policy) return only("trainer.acting", "policy", "planner");
  if (c.model.source == ModelSource::environment)
    return only("model.source", "environment", "learned");
  if (c.trainer.learner == LearnerKind::torch) return only("trainer.learner", "torch", "auto");
  return {};
}

DeviceTrainer::DeviceTrainer(const Config& config, const TrainTask& task, const TrainWeights& start,
                             std::shared_ptr<Device> device) {
  if (const std::string why = unsupported(config); !why.empty()) throw UsageError(why);
  impl_ = std::make_unique<Impl>(config, task, start, device ? std::move(device) : open_device());
}
DeviceTrainer::~DeviceTrainer() = default;

std::span<const float> DeviceTrainer::action() const { return impl_->action; }
std::span<const double> DeviceTrainer::value() const { return impl_->value; }
std::span<const double> DeviceTrainer::effective_samples() const { return impl_->samples; }
std::span<const PlanStatus> DeviceTrainer::status() const { return impl_->status; }
std::int64_t DeviceTrainer::added() const { return impl_->added; }
std::uint64_t DeviceTrainer::draws() const { return impl_->draws; }
std::uint32_t DeviceTrainer::solves() const { return impl_->solves; }

// --- launches

/// `warps` warps, and blocks of whole ones.
void DeviceTrainer::Impl::launch_warps(const Kernel& kernel, int warps, const void* job,
                                       std::size_t bytes) {
  device->launch(kernel, {.blocks = parts_of(warps, kWarps), .threads = kTrainThreads}, job, bytes);
}

PlanNoise DeviceTrainer::Impl::plan_noise() const {
  return {sigma->as<float>(), factor ? factor->as<float>() : nullptr};
}

ActJob DeviceTrainer::Impl::act_job(bool acts) const {
  const ActInput in(environments, task.nx, task.nu);
  const ActOutput out(environments, task.nu);
  ActJob job{};
  job.slots = input->as<std::int64_t>();
  job.row = at<ActRow>(*input, in.row);
  job.x = at<float>(*input, in.x);
  job.from = at<float>(*input, in.from);
  job.action = at<float>(*input, in.action);
  job.next = at<float>(*input, in.next);
  job.environments = environments;
  job.acts = acts;
  job.replay = {records->as<float>(), plans->as<float>(), task.nx, task.nu, plan};
  job.counters = counters->as<TrainCounters>();
  job.noise = plan_noise();
  job.refined = refined->as<float>();
  job.observation = observation->as<float>();
  job.plan = start->as<float>();
  job.header = header->as<SolveHeader>();
  job.sums = sums->as<TrainSums>();
  job.published = at<TrainSums>(*output, out.sums);
  return job;
}

void DeviceTrainer::Impl::launch_act(const Memory& host, bool acts) {
  const ActOutput out(environments, task.nu);
  device->upload(input->data(), host.data(), input->size());
  const ActJob job = act_job(acts);
  launch_warps(*act_kernel, environments, &job, sizeof job);
  if (!acts) return;
  SolveArrays a;
  a.header = header->as<SolveHeader>();
  a.observation = observation->as<float>();
  a.plan = start->as<float>();
  a.refined = refined->as<float>();
  a.action = at<float>(*output, out.action);
  a.result = output->as<ProblemResult>();
  online->launch(a, 0);
  device->download(host_output->data(), output->data(), out.bytes);
}

SampleJob DeviceTrainer::Impl::sample_job(RoundKind kind) const {
  SampleJob job{};
  job.counters = counters->as<TrainCounters>();
  job.replay = {records->as<float>(), plans->as<float>(), task.nx, task.nu, plan};
  job.warm_start = config.targets.warm_start;
  job.noise = plan_noise();
  const TrainStack &c = critic_net.stack(), &m = member_net.stack();
  job.critic_rows = kind.critic ? rows : 0;
  job.critic_stride = c.stride;
  job.critics = c.networks;
  job.target_interval = config.critic.target_interval;
  job.critic_norm = critic_norm.view();
  job.critic_rate = config.critic.learning_rate;
  job.slot = slot->as<std::int64_t>();
  job.critic_input = critic_net.input();
  job.reward = reward->as<float>();
  job.terminated = critic_end->as<float>();
  job.next = next->as<float>();
  job.plan = target_start->as<float>();
  job.target_plan = target_plan;
  job.header = target_header->as<SolveHeader>();
  job.critic_step = critic_net.step();
  job.move_target = critic_net.move_target();
  job.model_rows = kind.model ? m.rows : 0;
  job.model_stride = m.stride;
  job.regressed = m.regressed;
  job.model_norm = member_norm.view();
  job.model_rate = config.model.learning_rate;
  job.model_input = member_net.input();
  job.goal = goal->as<float>();
  job.model_terminated = model_end->as<float>();
  job.model_step = member_net.step();
  if (kind.policy || (kind.critic && imagines())) job.state = policy_trainer->state();
  if (!kind.policy) return job;
  job.policy_rate = policy_trainer->rate();
  job.policy_step = policy_trainer->net().step();
  job.move_policy_target = policy_trainer->net().move_target();
  return job;
}

FinishJob DeviceTrainer::Impl::finish_job(RoundKind kind) const {
  FinishJob job{};
  job.counters = counters->as<TrainCounters>();
  job.sums = sums->as<TrainSums>();
  job.replay = {records->as<float>(), plans->as<float>(), task.nx, task.nu, plan};
  job.critic = kind.critic;
  job.model = kind.model;
  job.policy = kind.policy;
  job.rows = rows;
  job.critics = critic_net.stack().networks;
  job.write_back = config.targets.warm_start;
  job.slot = slot->as<std::int64_t>();
  job.refined = target_refined->as<float>();
  job.target_plan = target_plan;
  job.results = target_results->as<ProblemResult>();
  job.critic_stack = critic_net.stack();
  job.model_stack = member_net.stack();
  return job;
}

void DeviceTrainer::Impl::launch_round(RoundKind kind) {
  const SampleJob sample = sample_job(kind);
  launch_warps(*sample_kernel, sample.critic_rows + sample.model_rows + 1, &sample, sizeof sample);
  for (int c = 0; kind.critic && c < critics.stack(); ++c) {
    const std::size_t from = static_cast<std::size_t>(c) * rows;
    SolveArrays a;
    a.header = target_header->as<SolveHeader>() + c;
    a.observation = next->as<float>();
    a.plan = target_start->as<float>();
    a.refined = target_refined->as<float>() + from * target_plan;
    a.action = target_action->as<float>();
    a.result = target_results->as<ProblemResult>() + from;
    target_solver->launch(a, c);
  }
  // behind the target plans, which use the members as they were
  launch_steps(kind);
  const FinishJob finish = finish_job(kind);
  launch_warps(*finish_kernel, (kind.critic ? rows : 0) + 1, &finish, sizeof finish);
  if (kind.model) members.pack();
  if (kind.critic) critics.pack();
  if (kind.moves) targets.pack();
}

void DeviceTrainer::Impl::launch_steps(RoundKind kind) {
  const TrainStack* model = kind.model ? &member_net.stack() : nullptr;
  const TrainStack* critic = kind.critic ? &critic_net.stack() : nullptr;
  const auto* before = counters->as<TrainCounters>();
  if (kind.critic && imagines()) policy_trainer->imagine(before);
  if (!kind.policy) {
    step.launch(model, critic);
    return;
  }
  step.launch(nullptr, critic);
  policy_trainer->differentiate(before);
  step.launch(model, &policy_trainer->net().stack());
}

const Graph& DeviceTrainer::Impl::round_graph(RoundKind kind) {
  std::unique_ptr<Graph>& graph = rounds[kind];
  if (!graph) graph = device->record([&] { launch_round(kind); });
  return *graph;
}

DeviceTrainer::Impl::RoundKind DeviceTrainer::Impl::next_round(bool critic, bool model) const {
  const std::int64_t update = critic_steps + 1;
  return {critic, model, critic && update % config.critic.target_interval == 0,
          critic && policy_trainer && policy_trainer->steps_after(update)};
}

// --- acting

ActRow& DeviceTrainer::Impl::row(int environment) const {
  return at<ActRow>(*stage, ActInput(environments, task.nx, task.nu).row)[environment];
}

void DeviceTrainer::Impl::wait() {
  device->synchronise();
  flushing = false;
}

void DeviceTrainer::start_episode(int environment, std::uint32_t episode) {
  impl_->row(environment).fresh = 1;
  impl_->row(environment).episode = episode;
}

void DeviceTrainer::act(std::span<const float> x) {
  Impl& t = *impl_;
  *t.stage->as<std::int64_t>() =
      std::min(t.added + t.environments, t.config.trainer.replay_capacity);
  std::ranges::copy(x, at<float>(*t.stage, ActInput(t.environments, t.task.nx, t.task.nu).x));
  if (!t.act_graph) t.act_graph = t.device->record([&] { t.launch_act(*t.stage, true); });
  t.device->replay(*t.act_graph);
  ++t.solves;
  t.wait();
  for (int e = 0; e < t.environments; ++e) {
    t.row(e).slot = -1;
    t.row(e).fresh = 0;
  }
  t.staged = 0;
  t.hand_out();
}

void DeviceTrainer::Impl::hand_out() {
  const ActOutput out(environments, task.nu);
  std::copy_n(at<float>(*host_output, out.action), action.size(), action.begin());
  for (int e = 0; e < environments; ++e) {
    const ProblemResult& r = host_output->as<ProblemResult>()[e];
    value[e] = r.value;
    samples[e] = r.effective_samples;
    status[e] = static_cast<PlanStatus>(r.status);
  }
  add(*at<TrainSums>(*host_output, out.sums));
}

void DeviceTrainer::Impl::add(const TrainSums& s) {
  arrived.critic_loss += s.critic_loss;
  arrived.model_loss += s.model_loss;
  arrived.q += s.q;
  arrived.target += s.target;
  arrived.critic_updates += s.critic_updates;
  arrived.model_updates += s.model_updates;
  arrived.worst = std::max(arrived.worst, static_cast<PlanStatus>(s.status));
}

// --- learning

void DeviceTrainer::store(int environment, std::span<const float> x, std::span<const float> action,
                          std::span<const float> next, float reward, bool terminated) {
  Impl& t = *impl_;
  const std::int64_t slot = t.added % t.config.trainer.replay_capacity;
  if (slot >= t.slots)
    throw Error("trainer: transition " + std::to_string(t.added + 1) + " is behind the " +
                std::to_string(t.slots) + " that trainer.steps gave room for");
  if (t.row(environment).slot >= 0)
    throw Error("trainer: environment " + std::to_string(environment) +
                " stores a second transition before the next act()");
  ++t.added;
  ++t.staged;
  const ActInput in(t.environments, t.task.nx, t.task.nu);
  const std::ptrdiff_t at_row = static_cast<std::ptrdiff_t>(environment) * t.task.nx;
  ActRow& row = t.row(environment);
  row.slot = slot;
  row.reward = reward;
  row.terminated = terminated ? 1.0f : 0.0f;
  std::ranges::copy(x, at<float>(*t.stage, in.from) + at_row);
  std::ranges::copy(action, at<float>(*t.stage, in.action) +
                                static_cast<std::ptrdiff_t>(environment) * t.task.nu);
  std::ranges::copy(next, at<float>(*t.stage, in.next) + at_row);
}

/// Brings staged transitions to the replay now.
void DeviceTrainer::Impl::flush() {
  if (staged == 0) return;
  if (flushing) wait();
  std::memcpy(flushed->data(), stage->data(), stage->size());
  if (!flush_graph) flush_graph = device->record([&] { launch_act(*flushed, false); });
  device->replay(*flush_graph);
  flushing = true;
  for (int e = 0; e < environments; ++e) row(e).slot = -1;
  staged = 0;
}

void DeviceTrainer::update(bool critic, bool model) {
  Impl& t = *impl_;
  if (!critic && !model) return;
  t.flush();
  const Impl::RoundKind kind = t.next_round(critic, model);
  t.device->replay(t.round_graph(kind));
  t.draws += static_cast<std::uint64_t>(critic) + model;
  if (critic) {
    ++t.critic_steps;
    t.solves += static_cast<std::uint32_t>(t.critics.stack());
  }
  if (model) ++t.model_steps;
  if (kind.policy) ++t.policy_steps;
}

DeviceSums DeviceTrainer::take_sums() { return std::exchange(impl_->arrived, {}); }

DeviceSums DeviceTrainer::finish() {
  Impl& t = *impl_;
  TrainSums last{};
  t.device->download(&last, t.sums->data(), sizeof last);
  t.wait();
  t.add(last);
  last = {};
  t.device->upload(t.sums->data(), &last, sizeof last);
  t.wait();
  return take_sums();
}

// --- set-up of losses

void DeviceTrainer::Impl::set_losses() {
  const ModelConfig& m = config.model;
  TrainStack& s = member_net.stack();
  s.loss = loss_number(m.loss);
  s.regressed = task.nx + task.outputs.reward;
  s.termination = task.outputs.termination;
  s.huber_delta = static_cast<float>(m.huber_delta);
  const double count = static_cast<double>(s.networks) * s.rows;
  s.scale = 1 / (count * s.regressed);
  s.termination_scale = 1 / count;
  s.goal = goal->as<float>();
  s.terminated = model_end->as<float>();
  const CriticConfig& c = config.critic;
  TrainStack& q = critic_net.stack();
  q.loss = loss_number(c.loss);
  q.regressed = 1;
  q.huber_delta = static_cast<float>(c.huber_delta);
  q.rows = rows;
  q.scale = 1.0 / rows;  // each critic's own mean, so that their number does not change a step
  q.results = target_results->as<ProblemResult>();
  q.critics = q.networks;
  q.reward = reward->as<float>();
  q.terminated = critic_end->as<float>();
  q.gamma = config.planner.gamma;
  q.end_cost = static_cast<float>(config.planner.termination_cost);
  q.tau = static_cast<float>(c.tau);
}

}  // namespace softmpc::cuda
