// SPDX-License-Identifier: Apache-2.0
// What agents of every device share: the order of drawing, simulating and learning; statistics.
#include "agent.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "cpu_agent.h"
#include "device_agent.h"
#include "hardware.h"
#include "learn/tensor_state.h"
#include "softmpc/error.h"
#include "softmpc/hd/philox.h"

namespace softmpc {

MemberOutputs learned_outputs(const Config& c, const TaskSpec& spec) {
  MemberOutputs outputs;
  // gradients go through nets alone
  const bool differentiated = has_policy(c) && c.policy.objective == PolicyObjective::rollout;
  outputs.reward = c.model.reward == Learned::always || (c.model.reward == Learned::automatic &&
                                                         (!spec.analytic_reward || differentiated));
  if (differentiated && !outputs.reward)
    throw UsageError(
        "policy.objective: rollout needs a learned reward, and model.reward is never; use "
        "automatic or always");
  if (!outputs.reward && !spec.analytic_reward)
    throw UsageError("model.reward: never does not fit " + spec.name +
                     ", whose observation does not determine the reward; use automatic or always");
  if (!c.planner.handle_terminations) return outputs;
  if (!spec.has_termination)
    throw UsageError("planner.handle_terminations: true does not fit " + spec.name +
                     ", which never terminates");
  outputs.termination = c.model.termination == Learned::always ||
                        (c.model.termination == Learned::automatic && !spec.analytic_termination);
  if (!outputs.termination && !spec.analytic_termination)
    throw UsageError("model.termination: never does not fit " + spec.name +
                     ", whose observation does not determine it; use automatic or always");
  return outputs;
}

std::unique_ptr<Agent> make_agent(const Config& config, const Task& task, ThreadPool& pool,
                                  std::shared_ptr<cuda::Device> device) {
  if (config.trainer.device == Device::cuda)
    return std::make_unique<DeviceAgent>(config, task, pool, std::move(device));
  return std::make_unique<CpuAgent>(config, task, pool);
}

Agent::Agent(const Config& config, const Task& task, ThreadPool& pool)
    : config_(config),
      spec_(task.spec(task_options(config.environment))),
      pool_(pool),
      reward_(make_rollout_reward(task, task_options(config.environment))),
      replay_(spec_.nx, spec_.nu, (config.planner.horizon + 1) * spec_.nu,
              config.trainer.replay_capacity),
      input_statistics_(spec_.nx + spec_.nu),
      output_statistics_(spec_.nx + 1) {
  const std::int64_t slots = std::min(config.trainer.replay_capacity, config.trainer.steps);
  for (int i = 0; config.trainer.random_steps > 0 && i < spec_.nu; ++i)
    if (!std::isfinite(spec_.action_low[i]) || !std::isfinite(spec_.action_high[i]))
      throw UsageError("trainer.random_steps: " + std::to_string(config.trainer.random_steps) +
                       " needs bounds of every action, and action " + std::to_string(i) + " of " +
                       spec_.name + " has none; use 0");
  require_memory(static_cast<std::uint64_t>(slots) * replay_.slot_bytes(),
                 "trainer.replay_capacity: " + std::to_string(slots) + " transitions",
                 "a smaller one needs less");
}

// --- rounds

Agent::Round Agent::round(int index, bool critic, bool model) const {
  return {critic && index < config_.critic.updates_per_step,
          model && learns_model() && index < config_.model.updates_per_step};
}

void Agent::draw_batches(Round round, std::int64_t pending) {
  const std::uint64_t seed = config_.trainer.seed;
  if (round.critic) replay_.draw(seed, draws_++, config_.critic.batch_size, pending, critic_batch_);
  if (round.model) replay_.draw(seed, draws_++, config_.model.batch_size, pending, model_batch_);
}

bool Agent::draws_pending(Round round, std::int64_t pending) const {
  return (round.critic && replay_.draws_pending(critic_batch_, pending)) ||
         (round.model && replay_.draws_pending(model_batch_, pending));
}

bool Agent::update(Updates& updates, UpdateSums& sums, const std::atomic<bool>* stop) {
  const int rounds = std::max(config_.critic.updates_per_step, config_.model.updates_per_step);
  for (; updates.done < updates.count * rounds; ++updates.done) {
    const Round r = round(static_cast<int>(updates.done % rounds), updates.critic, updates.model);
    if (!r.critic && !r.model) continue;
    if (stop && stop->load()) return false;
    draw_batches(r, 0);
    learn(r, nullptr, sums);
  }
  return true;
}

void Agent::randomise(std::int64_t step, std::span<float> actions) const {
  if (step >= config_.trainer.random_steps) return;
  for (std::size_t j = 0; j < actions.size(); ++j) {
    const int i = static_cast<int>(j % spec_.nu);
    const auto index = static_cast<std::uint64_t>(step) + j / spec_.nu;
    actions[j] = hd::random_action(config_.trainer.seed, index, i, spec_.action_low[i],
                                   spec_.action_high[i]);
  }
}

void Agent::simulate(const Simulation& simulation) {
  pool_.run(simulation.environments, [&](int e, int) { simulation.step(e); });
  simulation.store();
}

bool Agent::simulate_and_update(const Simulation& simulation, Updates& updates, UpdateSums& sums,
                                const std::atomic<bool>* stop) {
  const int rounds = std::max(config_.critic.updates_per_step, config_.model.updates_per_step);
  const std::int64_t pending = simulation.environments;
  bool beside = false;
  if (updates.done == 0 && updates.count * rounds > 0) {
    const Round r = round(0, updates.critic, updates.model);
    draw_batches(r, pending);
    beside = !normalises() && !draws_pending(r, pending);
    if (!beside) simulate(simulation);
    learn(r, beside ? &simulation : nullptr, sums);
    if (beside) simulation.store();
    updates.done = 1;
  } else {
    simulate(simulation);
  }
  return update(updates, sums, stop);
}

// --- starting anew

namespace {

/// The entries of a net in a saved state, as a first update finds them.
void put_start(TensorFile& state, const std::string& name, const NetWeights& shape,
               std::uint64_t seed, Network network) {
  const std::vector<float> start = initial_parameters(shape.stack, shape.spec, seed, network);
  const std::vector<float> none(start.size(), 0.0f);
  put(state, name + ".parameters", start);
  put(state, name + ".adam_mean", none);
  put(state, name + ".adam_variance", none);
  put<std::int64_t>(state, name + ".adam_count", {0});
  if (network != kMembers) put(state, name + ".target", start);
}

}  // namespace

void Agent::learn_anew(Network network, std::uint64_t seed) {
  TensorFile state;
  save(state);
  const Bundle nets = bundle();
  if (network == kMembers && nets.members.stack > 0)
    put_start(state, "members", nets.members, seed, kMembers);
  if (network == kCritics) {
    put_start(state, "critics", nets.critics, seed, kCritics);
    put<std::int64_t>(state, "critics.updates", {0});
  }
  // a policy has climbed the critics that go
  if (network != kMembers && nets.policy) put_start(state, "policy", *nets.policy, seed, kPolicy);
  load(state);
}

// --- statistics

bool Agent::normalises() const {
  return config_.model.normalisation != Normalisation::none ||
         config_.critic.normalisation != Normalisation::none;
}

void Agent::count_transition(std::span<const float> x, std::span<const float> action,
                             std::span<const float> next, float reward) {
  if (!normalises()) return;
  std::vector<float> row(x.begin(), x.end());
  row.insert(row.end(), action.begin(), action.end());
  input_statistics_.add(row);
  row.assign(next.begin(), next.end());
  for (int i = 0; i < spec_.nx; ++i) row[i] -= x[i];
  row.push_back(reward);
  output_statistics_.add(row);
}

void Agent::refresh_members(NetNormalisation& n, MemberOutputs outputs) const {
  if (config_.model.normalisation == Normalisation::none || draws_ == 0) return;
  const std::size_t nx = spec_.nx;
  std::vector<float> mean(nx + 1), std(nx + 1);
  input_statistics_.write(n.input_mean, n.input_std);
  output_statistics_.write(mean, std);
  const std::size_t regressed = nx + outputs.reward;
  std::copy_n(mean.begin(), regressed, n.output_mean.begin());
  std::copy_n(std.begin(), regressed, n.output_std.begin());
}

void Agent::refresh_critics(NetNormalisation& n) const {
  if (config_.critic.normalisation == Normalisation::none || draws_ == 0) return;
  input_statistics_.write(n.input_mean, n.input_std);
}

void Agent::save_statistics(TensorFile& file) const {
  put(file, "agent.input_statistics", input_statistics_.save());
  put(file, "agent.output_statistics", output_statistics_.save());
}

void Agent::load_statistics(const TensorFile& file) {
  input_statistics_.load(
      get<double>(file, "agent.input_statistics", input_statistics_.save().size()));
  output_statistics_.load(
      get<double>(file, "agent.output_statistics", output_statistics_.save().size()));
}

Bundle Agent::empty_bundle() const {
  Bundle b;
  b.task = spec_.name;
  b.nx = spec_.nx;
  b.nu = spec_.nu;
  b.action_low = spec_.action_low;
  b.action_high = spec_.action_high;
  b.dt = spec_.dt;
  b.environment = config_.environment;
  b.acting = config_.trainer.acting;
  b.planner = final_planner(config_);
  b.provenance = "{\"settings\":" + to_json(config_, -1) + "}";
  return b;
}

void Agent::set_state_range(Bundle& bundle) const {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  replay_.state_range(bundle.state_low, bundle.state_high);
  const auto masks = [](const NetWeights& net, std::size_t i) {
    return net.stack == 0 || std::isinf(net.normalisation.input_std[i]);
  };
  for (std::size_t i = 0; i < bundle.state_low.size(); ++i)
    if (masks(bundle.members, i) && masks(bundle.critics, i)) {
      bundle.state_low[i] = -kInfinity;
      bundle.state_high[i] = kInfinity;
    }
}

}  // namespace softmpc
