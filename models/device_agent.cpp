// SPDX-License-Identifier: Apache-2.0
#include "device_agent.h"

#include <algorithm>

#include "learn/initialisation.h"
#include "learn/net_specs.h"
#include "learn/tensor_state.h"
#include "planner_targets.h"

namespace softmpc {
namespace {

std::vector<float> to_checkpoint(const NetWeights& shape, const std::vector<float>& device) {
  std::vector<float> values(device.size());
  from_net_order(shape.spec, shape.stack, device, values);
  return values;
}

std::vector<float> from_checkpoint(const NetWeights& shape, const TensorFile& file,
                                   const std::string& name) {
  const std::vector<float> stored = get<float>(file, name, shape.parameters.size());
  std::vector<float> values(stored.size());
  to_net_order(shape.spec, shape.stack, stored, values);
  return values;
}

void put_stack(TensorFile& file, const std::string& name, const NetWeights& shape,
               const cuda::StackState& s, std::int64_t steps) {
  put(file, name + ".parameters", to_checkpoint(shape, s.parameters));
  put(file, name + ".adam_mean", to_checkpoint(shape, s.mean));
  put(file, name + ".adam_variance", to_checkpoint(shape, s.variance));
  put<std::int64_t>(file, name + ".adam_count", {steps});
}

cuda::StackState get_stack(const TensorFile& file, const std::string& name,
                           const NetWeights& shape) {
  return {from_checkpoint(shape, file, name + ".parameters"),
          from_checkpoint(shape, file, name + ".adam_mean"),
          from_checkpoint(shape, file, name + ".adam_variance")};
}

NetWeights start_weights(int stack, const NetSpec& spec, std::uint64_t seed, Network network) {
  NetWeights w = NetWeights::zeros(stack, spec);
  w.parameters = initial_parameters(stack, spec, seed, network);
  return w;
}

cuda::TrainWeights start_nets(const Config& c, const TaskSpec& s, MemberOutputs outputs) {
  cuda::TrainWeights w;
  w.members = start_weights(c.model.members, member_spec(c.model, s.nx, s.nu, outputs),
                            c.trainer.seed, kMembers);
  w.critics =
      start_weights(c.critic.count, critic_spec(c.critic, s.nx, s.nu), c.trainer.seed, kCritics);
  if (has_policy(c))
    w.policy = start_weights(1, policy_spec(c.policy, s.nx, s.nu), c.trainer.seed, kPolicy);
  return w;
}

void add(UpdateSums& sums, const cuda::DeviceSums& more) {
  check_plans({&more.worst, 1});
  sums.critic_loss += more.critic_loss;
  sums.model_loss += more.model_loss;
  sums.q += more.q;
  sums.target += more.target;
  sums.critic_updates += more.critic_updates;
  sums.model_updates += more.model_updates;
}

constexpr std::int64_t kSlotsAtATime = 1 << 16;

}  // namespace

DeviceAgent::DeviceAgent(const Config& config, const Task& task, ThreadPool& pool,
                         std::shared_ptr<cuda::Device> device)
    : Agent(config, task, pool),
      outputs_(learned_outputs(config, spec_)),
      nets_(start_nets(config, spec_, outputs_)),
      trainer_(std::make_unique<cuda::DeviceTrainer>(
          config,
          cuda::TrainTask{spec_.nx, spec_.nu, spec_.action_low, spec_.action_high, outputs_,
                          reward_.get()},
          nets_, std::move(device))),
      no_plan_(replay_.plan_floats()) {}

void DeviceAgent::start_episode(int environment, std::uint32_t episode) {
  trainer_->start_episode(environment, episode);
}

std::span<const float> DeviceAgent::act(std::span<const float> x, std::int64_t step) {
  trainer_->act(x);
  check_plans(trainer_->status());
  action_.assign(trainer_->action().begin(), trainer_->action().end());
  randomise(step, action_);
  return action_;
}

void DeviceAgent::store(int environment, std::span<const float> x, std::span<const float> next,
                        float reward, bool terminated) {
  const std::span<const float> action =
      std::span(action_).subspan(static_cast<std::size_t>(environment) * spec_.nu, spec_.nu);
  replay_.add(x, action, next, reward, terminated, no_plan_);
  trainer_->store(environment, x, action, next, reward, terminated);
  count_transition(x, action, next, reward);
}

/// The device works on while the environments step; what it found is counted one step later.
void DeviceAgent::learn(Round round, const Simulation* beside, UpdateSums& sums) {
  if (normalises()) {
    refresh_members(nets_.members.normalisation, outputs_);
    refresh_critics(nets_.critics.normalisation);
    trainer_->set_batch_normalisation(nets_.members.normalisation, nets_.critics.normalisation);
  }
  if (round.critic && config_.targets.warm_start)
    for (std::int64_t slot : critic_batch_.slot) replay_.mark_plan(slot);
  trainer_->update(round.critic, round.model);
  if (normalises())
    trainer_->set_net_normalisation(nets_.members.normalisation, nets_.critics.normalisation);
  if (beside) pool_.run(beside->environments, [&](int e, int) { beside->step(e); });
  add(sums, trainer_->take_sums());
}

void DeviceAgent::finish(UpdateSums& sums) { add(sums, trainer_->finish()); }

Bundle DeviceAgent::bundle() const {
  Bundle b = empty_bundle();
  cuda::TrainWeights nets = nets_;
  trainer_->read_weights(nets);
  b.members = std::move(nets.members);
  b.outputs = outputs_;
  b.critics = std::move(nets.critics);
  if (has_policy(config_)) {
    b.policy = std::move(nets.policy);
    b.policy->normalisation = policy_normalisation(b.critics.normalisation, spec_.nx, spec_.nu);
  }
  if (b.planner.precision == Precision::float16) b.planner.precision = Precision::float32;
  set_state_range(b);
  return b;
}

/// Plans that changed since the last checkpoint, from the device to replay_.
void DeviceAgent::fetch_plans() {
  std::vector<std::int64_t> changed = replay_.changed_plans();
  std::ranges::sort(changed);
  const std::size_t record = replay_.record_floats(), plan = replay_.plan_floats();
  std::vector<float> records, plans;
  for (auto from = changed.begin(); from != changed.end();) {
    const std::int64_t first = *from / kSlotsAtATime * kSlotsAtATime;
    const std::int64_t end = std::min(first + kSlotsAtATime, replay_.size());
    records.resize((end - first) * record);
    plans.resize((end - first) * plan);
    trainer_->read_replay(first, records, plans);
    for (; from != changed.end() && *from < end; ++from)
      replay_.restore_plan(*from, std::span(plans).subspan((*from - first) * plan, plan));
  }
}

void DeviceAgent::save(TensorFile& file) {
  const cuda::DeviceTrainerState state = trainer_->read_state();
  fetch_plans();
  put_stack(file, "members", nets_.members, state.members, state.model_steps);
  put_stack(file, "critics", nets_.critics, state.critics, state.critic_steps);
  put(file, "critics.target", to_checkpoint(nets_.critics, state.targets));
  put<std::int64_t>(file, "critics.updates", {state.critic_steps});
  if (has_policy(config_)) {
    put_stack(file, "policy", nets_.policy, state.policy, state.policy_steps);
    put(file, "policy.target", to_checkpoint(nets_.policy, state.policy_target));
  }
  put<std::int64_t>(file, "agent.counters",
                    {static_cast<std::int64_t>(state.solves),
                     static_cast<std::int64_t>(state.draws), state.added});
  put(file, "agent.plan", state.plan);
  save_statistics(file);
}

void DeviceAgent::load(const TensorFile& file) {
  cuda::DeviceTrainerState state;
  state.members = get_stack(file, "members", nets_.members);
  state.critics = get_stack(file, "critics", nets_.critics);
  state.targets = from_checkpoint(nets_.critics, file, "critics.target");
  state.model_steps = get<std::int64_t>(file, "members.adam_count", 1)[0];
  state.critic_steps = get<std::int64_t>(file, "critics.updates", 1)[0];
  if (has_policy(config_)) {
    state.policy = get_stack(file, "policy", nets_.policy);
    state.policy_target = from_checkpoint(nets_.policy, file, "policy.target");
    state.policy_steps = get<std::int64_t>(file, "policy.adam_count", 1)[0];
  }
  const auto counters = get<std::int64_t>(file, "agent.counters", 3);
  state.solves = static_cast<std::uint32_t>(counters[0]);
  state.draws = draws_ = static_cast<std::uint64_t>(counters[1]);
  state.added = counters[2];
  state.plan = get<float>(file, "agent.plan",
                          static_cast<std::size_t>(config_.trainer.envs) * replay_.plan_floats());
  load_statistics(file);
  replay_.restore(state.added);
  trainer_->write_state(state);
  refresh_members(nets_.members.normalisation, outputs_);
  refresh_critics(nets_.critics.normalisation);
  trainer_->set_net_normalisation(nets_.members.normalisation, nets_.critics.normalisation);
}

void DeviceAgent::replay_restored() {
  std::vector<float> records, plans;
  for (std::int64_t first = 0; first < replay_.size(); first += kSlotsAtATime) {
    const std::int64_t end = std::min(first + kSlotsAtATime, replay_.size());
    records.clear();
    plans.clear();
    for (std::int64_t slot = first; slot < end; ++slot) {
      const auto record = replay_.record(slot), plan = replay_.plan(slot);
      records.insert(records.end(), record.begin(), record.end());
      plans.insert(plans.end(), plan.begin(), plan.end());
    }
    trainer_->write_replay(first, records, plans);
  }
}

}  // namespace softmpc
