// SPDX-License-Identifier: Apache-2.0
#include "agent.h"

#include <algorithm>
#include <numeric>

#include "softmpc/error.h"
#include "softmpc/hd/philox.h"
#include "softmpc/hd/prior.h"
#include "tensor_state.h"

namespace softmpc {
namespace {

bool needs_policy(const Config& c) {
  return c.planner.control_mode == ControlMode::policy_residual ||
         c.targets.source == TargetSource::policy || c.trainer.acting == Acting::policy;
}

/// Which outputs the members learn beside the state change.
MemberOutputs learned_outputs(const Config& c, const TaskSpec& spec) {
  MemberOutputs outputs;
  outputs.reward = c.model.reward == Learned::always ||
                   (c.model.reward == Learned::automatic && !spec.analytic_reward);
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

ProblemShape shape_for(const TaskSpec& spec, int problems) {
  return {spec.nx, spec.nu, spec.action_low, spec.action_high, problems};
}

double mean_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

}  // namespace

Agent::Agent(const Config& config, const Task& task, ThreadPool& pool)
    : config_(config),
      spec_(task.spec({config.environment.positions, config.environment.time_limit})),
      pool_(pool),
      reward_(
          make_rollout_reward(task, {config.environment.positions, config.environment.time_limit})),
      ensemble_(config.model, spec_.nx, spec_.nu, learned_outputs(config, spec_),
                config.planner.precision, config.trainer.seed),
      critics_(config.critic, spec_.nx, spec_.nu, config.trainer.seed),
      replay_(spec_.nx, spec_.nu, (config.planner.horizon + 1) * spec_.nu,
              config.trainer.replay_capacity),
      input_statistics_(spec_.nx + spec_.nu),
      output_statistics_(spec_.nx + 1),
      planner_(config.planner, shape_for(spec_, config.trainer.envs), &pool),
      planner_targets_(config, shape_for(spec_, config.critic.batch_size), pool) {
  if (config.model.source == ModelSource::environment)
    simulator_ = task.make_dynamics({config.environment.positions, config.environment.time_limit});
  if (needs_policy(config))
    policy_.emplace(config.policy, spec_.nx, spec_.action_low, spec_.action_high,
                    config.trainer.seed);
  for (int copy = 0; copy < 2; ++copy)
    dynamics_[copy] =
        std::make_unique<MlpDynamics>(ensemble_.net(copy), spec_.nx, spec_.nu, ensemble_.outputs());
  for (int c = 0; c < config.critic.count; ++c) {
    online_value_.push_back(std::make_unique<MlpValue>(critics_.net(), spec_.nx, spec_.nu, c));
    target_value_.push_back(std::make_unique<MlpValue>(critics_.target(), spec_.nx, spec_.nu, c));
  }
  if (policy_) {
    online_policy_ =
        std::make_unique<MlpPolicy>(policy_->exported(), spec_.action_low, spec_.action_high);
    target_policy_ = std::make_unique<MlpPolicy>(policy_->exported_target(), spec_.action_low,
                                                 spec_.action_high);
  }
  const std::size_t environments = config.trainer.envs;
  plan_.resize(environments * planner_.plan_size());
  action_.resize(environments * spec_.nu);
  for (auto* v : {&value_, &samples_}) v->resize(environments);
  status_.resize(environments);
  targets_.resize(config.critic.batch_size);
  scratch_.resize(pool.threads());
}

Models Agent::models(bool target, int critic) const {
  const DynamicsModel* learned = dynamics_[ensemble_.active()].get();
  return {simulator_ ? simulator_.get() : learned, reward_.get(),
          (target ? target_value_ : online_value_)[critic].get(),
          (target ? target_policy_ : online_policy_).get()};
}

double Agent::value() const { return mean_of(value_); }
double Agent::effective_samples() const { return mean_of(samples_); }

void Agent::start_episode(int environment, std::uint32_t episode) {
  const std::size_t size = planner_.plan_size();
  planner_.draw({config_.trainer.seed, episode}, kEpisodePlan,
                std::span(plan_).subspan(environment * size, size));
}

std::span<const float> Agent::act(std::span<const float> x, std::int64_t step) {
  const int environments = config_.trainer.envs, nu = spec_.nu;
  if (config_.trainer.acting == Acting::planner) {
    const std::size_t size = planner_.plan_size();
    for (int e = 0; e < environments; ++e) planner_.shift(std::span(plan_).subspan(e * size, size));
    PlanBatch batch;
    batch.problems = environments;
    batch.observation = x;
    batch.plan = plan_;
    batch.action = action_;
    batch.value = value_;
    batch.effective_samples = samples_;
    batch.status = status_;
    planner_.solve(models(false, 0), {config_.trainer.seed, solves_++}, batch);
    check_plans(status_);
    return action_;
  }
  // a = clip(mu(x) + N(0, (exploration half-range)^2))
  std::fill(plan_.begin(), plan_.end(), 0.0f);
  action_ = policy_->act({x.begin(), x.end()}, environments, false);
  for (int e = 0; e < environments; ++e)
    for (int i = 0; i < nu; ++i) {
      const std::uint64_t at = static_cast<std::uint64_t>(step) + e;
      const hd::Philox4 bits =
          hd::philox({static_cast<std::uint32_t>(at), hd::draw_word(hd::Stream::explore, 0, 0, 0),
                      static_cast<std::uint32_t>(at >> 32), static_cast<std::uint32_t>(i)},
                     config_.trainer.seed);
      float n0, n1;
      hd::normal_pair(bits.x, bits.y, n0, n1);
      const float half = 0.5f * (spec_.action_high[i] - spec_.action_low[i]);
      float& a = action_[static_cast<std::size_t>(e) * nu + i];
      a = hd::clip(a + static_cast<float>(config_.policy.exploration) * half * n0,
                   spec_.action_low[i], spec_.action_high[i]);
    }
  return action_;
}

bool Agent::normalises() const {
  return config_.model.normalisation != Normalisation::none ||
         config_.critic.normalisation != Normalisation::none;
}

void Agent::store(int environment, std::span<const float> x, std::span<const float> next,
                  float reward, bool terminated) {
  const std::size_t size = planner_.plan_size(), nu = spec_.nu;
  const std::span<const float> action = std::span(action_).subspan(environment * nu, nu);
  replay_.add(x, action, next, reward, terminated,
              std::span(plan_).subspan(environment * size, size));
  if (!normalises()) return;
  std::vector<float> row(x.begin(), x.end());
  row.insert(row.end(), action.begin(), action.end());
  input_statistics_.add(row);
  row.assign(next.begin(), next.end());
  for (int i = 0; i < spec_.nx; ++i) row[i] -= x[i];
  row.push_back(reward);
  output_statistics_.add(row);
}

void Agent::refresh_normalisation() {
  const std::size_t nx = spec_.nx;
  std::vector<float> mean(nx + 1), std(nx + 1);
  if (config_.model.normalisation == Normalisation::running) {
    MlpWeights& w = ensemble_.normalisation();
    input_statistics_.write(w.input_mean, w.input_std);
    output_statistics_.write(mean, std);
    const std::size_t regressed = nx + ensemble_.outputs().reward;
    std::copy_n(mean.begin(), regressed, w.output_mean.begin());
    std::copy_n(std.begin(), regressed, w.output_std.begin());
  }
  if (config_.critic.normalisation == Normalisation::none) return;
  MlpWeights& critic = critics_.normalisation();
  input_statistics_.write(critic.input_mean, critic.input_std);
  if (!policy_) return;
  for (MlpWeights* w : {&policy_->exported(), &policy_->exported_target()}) {
    std::copy_n(critic.input_mean.begin(), nx, w->input_mean.begin());
    std::copy_n(critic.input_std.begin(), nx, w->input_std.begin());
  }
}

void Agent::compute_targets(const ReplayBatch& batch) {
  if (config_.targets.source == TargetSource::planner) {
    const auto with_target = [this](int critic) { return models(true, critic); };
    return planner_targets_.compute(batch, with_target, solves_, replay_, targets_);
  }
  // y = r + gamma (1 - terminated) Q_target(x', mu_target(x'))
  const std::vector<float> a = policy_->act(batch.next, batch.size, true);
  const std::vector<float> q = critics_.target_value(batch.next, a, batch.size);
  for (int i = 0; i < batch.size; ++i)
    targets_[i] = batch.reward[i] +
                  static_cast<float>(config_.planner.gamma) * (1 - batch.terminated[i]) * q[i];
}

void Agent::critic_update(UpdateSums& sums) {
  const ReplayBatch& batch = critic_batch_;
  compute_targets(batch);
  double q = 0;
  sums.critic_loss += critics_.update(batch, targets_, q);
  sums.q += q;
  double mean = 0;
  for (float y : targets_) mean += y / static_cast<double>(batch.size);
  sums.target += mean;
  ++sums.critic_updates;
  if (policy_ && critics_.updates() % config_.policy.update_interval == 0)
    policy_->update(batch, critics_);
}

void Agent::publish_critics() {
  critics_.publish();
  if (!policy_) return;
  policy_->export_weights();
  online_policy_->update(policy_->exported());
  target_policy_->update(policy_->exported_target());
}

Agent::Round Agent::round(int index, bool critic, bool model) const {
  return {critic && index < config_.critic.updates_per_step,
          model && !simulator_ && index < config_.model.updates_per_step};
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

/// The members are updated beside the target plans, which still use them as they were.
void Agent::start_model_update() {
  ensemble_.prepare(model_batch_);
  for (int member = 0; member < ensemble_.members(); ++member)
    pool_.start([this, member](int worker) { ensemble_.update_member(member, scratch_[worker]); });
}

/// One round on the drawn batches; waits for every job of the pool.
void Agent::learn(Round round, UpdateSums& sums) {
  use_one_thread();
  refresh_normalisation();
  if (round.critic) replay_.gather(critic_batch_);
  if (round.model) {
    replay_.gather(model_batch_);
    start_model_update();
  }
  try {
    if (round.critic) critic_update(sums);
  } catch (...) {
    pool_.finish();
    throw;
  }
  pool_.finish();
  if (round.model) {
    sums.model_loss += ensemble_.finish();
    ++sums.model_updates;
  }
  if (round.critic) publish_critics();
}

void Agent::update(std::int64_t count, bool critic, bool model, UpdateSums& sums) {
  const int rounds = std::max(config_.critic.updates_per_step, config_.model.updates_per_step);
  for (std::int64_t i = 0; i < count * rounds; ++i) {
    const Round r = round(static_cast<int>(i % rounds), critic, model);
    if (!r.critic && !r.model) continue;
    draw_batches(r, 0);
    learn(r, sums);
  }
}

void Agent::simulate(const Simulation& simulation) {
  pool_.run(simulation.environments, [&](int e, int) { simulation.step(e); });
  simulation.store();
}

void Agent::simulate_and_update(const Simulation& simulation, std::int64_t count,
                                UpdateSums& sums) {
  const int rounds = std::max(config_.critic.updates_per_step, config_.model.updates_per_step);
  bool simulated = false;
  for (std::int64_t i = 0; i < count * rounds; ++i) {
    const Round r = round(static_cast<int>(i % rounds), true, true);
    const std::int64_t pending = simulated ? 0 : simulation.environments;
    draw_batches(r, pending);
    const bool beside = !simulated && !normalises() && !draws_pending(r, pending);
    if (beside)
      for (int e = 0; e < simulation.environments; ++e)
        pool_.start([&simulation, e](int) { simulation.step(e); });
    else if (!simulated)
      simulate(simulation);
    simulated = true;
    learn(r, sums);
    if (beside) simulation.store();
  }
  if (!simulated) simulate(simulation);
}

Bundle Agent::bundle() const {
  Bundle b;
  b.task = spec_.name;
  b.nx = spec_.nx;
  b.nu = spec_.nu;
  b.action_low = spec_.action_low;
  b.action_high = spec_.action_high;
  b.dt = spec_.dt;
  b.members = ensemble_.weights();
  b.outputs = ensemble_.outputs();
  b.critics = critics_.weights();
  if (policy_) b.policy = policy_->exported();
  b.config = config_;
  return b;
}

void Agent::save(TensorFile& file) const {
  ensemble_.save(file);
  critics_.save(file);
  if (policy_) policy_->save(file);
  put<std::int64_t>(
      file, "agent.counters",
      {static_cast<std::int64_t>(solves_), static_cast<std::int64_t>(draws_), replay_.added()});
  put(file, "agent.plan", plan_);
  put(file, "agent.input_statistics", input_statistics_.save());
  put(file, "agent.output_statistics", output_statistics_.save());
}

void Agent::load(const TensorFile& file) {
  const auto counters = get<std::int64_t>(file, "agent.counters", 3);
  solves_ = static_cast<std::uint32_t>(counters[0]);
  draws_ = static_cast<std::uint64_t>(counters[1]);
  replay_.restore(counters[2]);
  plan_ = get<float>(file, "agent.plan", plan_.size());
  input_statistics_.load(
      get<double>(file, "agent.input_statistics", input_statistics_.save().size()));
  output_statistics_.load(
      get<double>(file, "agent.output_statistics", output_statistics_.save().size()));
  refresh_normalisation();
  ensemble_.load(file);
  critics_.load(file);
  if (policy_) policy_->load(file);
  publish_critics();
}

}  // namespace softmpc
