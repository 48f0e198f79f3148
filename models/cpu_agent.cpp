// SPDX-License-Identifier: Apache-2.0
#include "cpu_agent.h"

#include <algorithm>
#include <limits>

#include "learn/tensor_state.h"
#include "softmpc/error.h"
#include "softmpc/hd/losses.h"
#include "softmpc/hd/philox.h"
#include "softmpc/hd/prior.h"

namespace softmpc {
namespace {

ProblemShape shape_for(const TaskSpec& spec, int problems) {
  return {spec.nx, spec.nu, spec.action_low, spec.action_high, problems};
}

LearnerSetup learner_setup(const Config& c, const TaskSpec& spec, const RewardModel* reward) {
  LearnerSetup s;
  s.model = c.model;
  s.critic = c.critic;
  s.policy = c.policy;
  s.has_policy = has_policy(c);
  s.planner = target_planner(c);
  s.reward = reward;
  s.nx = spec.nx;
  s.nu = spec.nu;
  s.action_low = spec.action_low;
  s.action_high = spec.action_high;
  s.outputs = learned_outputs(c, spec);
  s.precision = c.planner.precision;
  s.seed = c.trainer.seed;
  return s;
}

/// Rows [n, width] as columns [width, n].
std::vector<float> turned(std::span<const float> rows, int n) {
  const std::size_t width = rows.size() / n;
  std::vector<float> columns(rows.size());
  for (int j = 0; j < n; ++j)
    for (std::size_t i = 0; i < width; ++i) columns[i * n + j] = rows[j * width + i];
  return columns;
}

void grow(cpu::AlignedFloats& scratch, std::size_t bytes) {
  if (scratch.size() * sizeof(float) < bytes) scratch.resize(bytes / sizeof(float) + 1);
}

}  // namespace

CpuAgent::CpuAgent(const Config& config, const Task& task, ThreadPool& pool)
    : Agent(config, task, pool),
      outputs_(learned_outputs(config, spec_)),
      learner_(make_learner(config.trainer.learner, learner_setup(config, spec_, reward_.get()))) {
  if (config.model.source == ModelSource::environment)
    simulator_ = task.make_dynamics(task_options(config.environment));
  planner_ = make_planner(config.planner, shape_for(spec_, config.trainer.envs), models(false, 0),
                          {.pool = &pool});
  planner_targets_.emplace(config, shape_for(spec_, config.critic.batch_size), models(true, 0),
                           pool);
  const std::size_t environments = config.trainer.envs;
  plan_.resize(environments * planner_->plan_size());
  action_.resize(environments * spec_.nu);
  for (auto* v : {&value_, &samples_}) v->resize(environments);
  status_.resize(environments);
  targets_.resize(config.critic.batch_size);
}

Models CpuAgent::models(bool target, int critic) const {
  // a proposal is a place to search, and the newest is the best one
  const bool proposes = config_.planner.proposals == Proposals::plan_and_policy;
  return {simulator_ ? simulator_.get() : &learner_->dynamics(), reward_.get(),
          &learner_->value(critic, target), learner_->policy(target && !proposes)};
}

/// mu(x) or mu_target(x) of rows x: [rows, nu].
std::vector<float> CpuAgent::policy_actions(std::span<const float> x, int rows, bool target) {
  const Policy& policy = *learner_->policy(target);
  grow(net_scratch_, policy.scratch_bytes(rows));
  const std::vector<float> columns = turned(x, rows);
  std::vector<float> actions(static_cast<std::size_t>(spec_.nu) * rows), out(actions.size());
  policy.evaluate({columns.data(), rows}, rows, {actions.data(), rows}, net_scratch_.data());
  for (int j = 0; j < rows; ++j)
    for (int i = 0; i < spec_.nu; ++i) out[j * spec_.nu + i] = actions[i * rows + j];
  return out;
}

/// min over target critics of Q_target(x, a) [rows].
std::vector<float> CpuAgent::least_target_values(std::span<const float> x, std::span<const float> a,
                                                 int rows) {
  const std::vector<float> state = turned(x, rows), action = turned(a, rows);
  std::vector<float> least(rows, std::numeric_limits<float>::infinity()), q(rows);
  for (int c = 0; c < config_.critic.count; ++c) {
    const TerminalValue& value = learner_->value(c, true);
    grow(net_scratch_, value.scratch_bytes(rows));
    value.evaluate({state.data(), rows}, {action.data(), rows}, rows, q.data(),
                   net_scratch_.data());
    for (int j = 0; j < rows; ++j) least[j] = std::min(least[j], q[j]);
  }
  return least;
}

void CpuAgent::start_episode(int environment, std::uint32_t episode) {
  const std::size_t size = planner_->plan_size();
  planner_->draw({config_.trainer.seed, episode}, kEpisodePlan,
                 std::span(plan_).subspan(environment * size, size));
}

std::span<const float> CpuAgent::act(std::span<const float> x, std::int64_t step) {
  const int environments = config_.trainer.envs, nu = spec_.nu;
  if (config_.trainer.acting == Acting::planner) {
    const std::size_t size = planner_->plan_size();
    for (int e = 0; e < environments; ++e)
      planner_->shift(std::span(plan_).subspan(e * size, size));
    PlanBatch batch;
    batch.problems = environments;
    batch.observation = x;
    batch.plan = plan_;
    batch.action = action_;
    batch.value = value_;
    batch.effective_samples = samples_;
    batch.status = status_;
    planner_->update(models(false, 0));
    planner_->solve({config_.trainer.seed, solves_++}, batch);
    check_plans(status_);
    randomise(step, action_);
    return action_;
  }
  // a = clip(mu(x) + N(0, (exploration half-range)^2))
  std::fill(plan_.begin(), plan_.end(), 0.0f);
  action_ = policy_actions(x, environments, false);
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
  randomise(step, action_);
  return action_;
}

void CpuAgent::store(int environment, std::span<const float> x, std::span<const float> next,
                     float reward, bool terminated) {
  const std::size_t size = planner_->plan_size(), nu = spec_.nu;
  const std::span<const float> action = std::span(action_).subspan(environment * nu, nu);
  replay_.add(x, action, next, reward, terminated,
              std::span(plan_).subspan(environment * size, size));
  count_transition(x, action, next, reward);
}

void CpuAgent::refresh_normalisation() {
  refresh_members(learner_->member_normalisation(), outputs_);
  refresh_critics(learner_->critic_normalisation());
}

void CpuAgent::compute_targets(const ReplayBatch& batch) {
  if (config_.targets.source == TargetSource::planner) {
    const auto with_target = [this](int critic) { return models(true, critic); };
    return planner_targets_->compute(batch, with_target, solves_, replay_, targets_);
  }
  const std::vector<float> a = policy_actions(batch.next, batch.size, true);
  const std::vector<float> q = least_target_values(batch.next, a, batch.size);
  const auto cost = static_cast<float>(config_.planner.termination_cost);
  for (int i = 0; i < batch.size; ++i)
    targets_[i] =
        hd::critic_target(batch.reward[i], config_.planner.gamma, q[i], batch.terminated[i], cost);
}

void CpuAgent::critic_update(UpdateSums& sums) {
  const ReplayBatch& batch = critic_batch_;
  compute_targets(batch);
  const CriticStep step = learner_->update_critics(batch, targets_);
  sums.critic_loss += step.loss;
  sums.q += step.mean_value;
  double mean = 0;
  for (float y : targets_) mean += y / static_cast<double>(batch.size);
  sums.target += mean;
  ++sums.critic_updates;
}

void CpuAgent::learn(Round round, const Simulation* beside, UpdateSums& sums) {
  if (beside)
    for (int e = 0; e < beside->environments; ++e)
      pool_.start([beside, e](int) { beside->step(e); });
  refresh_normalisation();
  if (round.critic) replay_.gather(critic_batch_);
  if (round.model) {
    replay_.gather(model_batch_);
    // beside the target plans, which still use the members as they were
    learner_->start_members(model_batch_, pool_);
  }
  try {
    if (round.critic) critic_update(sums);
  } catch (...) {
    pool_.finish();
    throw;
  }
  pool_.finish();
  if (round.model) {
    sums.model_loss += learner_->finish_members();
    ++sums.model_updates;
  }
  if (round.critic) learner_->publish();
}

Bundle CpuAgent::bundle() const {
  Bundle b = empty_bundle();
  if (config_.model.source == ModelSource::learned) b.members = learner_->member_weights();
  b.outputs = outputs_;
  b.critics = learner_->critic_weights();
  if (has_policy(config_)) b.policy = learner_->policy_weights();
  set_state_range(b);
  return b;
}

void CpuAgent::save(TensorFile& file) {
  learner_->save(file);
  put<std::int64_t>(
      file, "agent.counters",
      {static_cast<std::int64_t>(solves_), static_cast<std::int64_t>(draws_), replay_.added()});
  put(file, "agent.plan", plan_);
  save_statistics(file);
}

void CpuAgent::load(const TensorFile& file) {
  const auto counters = get<std::int64_t>(file, "agent.counters", 3);
  solves_ = static_cast<std::uint32_t>(counters[0]);
  draws_ = static_cast<std::uint64_t>(counters[1]);
  replay_.restore(counters[2]);
  plan_ = get<float>(file, "agent.plan", plan_.size());
  load_statistics(file);
  refresh_normalisation();
  learner_->load(file);
}

}  // namespace softmpc
