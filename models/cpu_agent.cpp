// SPDX-License-Identifier: Apache-2.0
#include "cpu_agent.h"

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

ProblemShape shape_for(const TaskSpec& spec, int problems) {
  return {spec.nx, spec.nu, spec.action_low, spec.action_high, problems};
}

double mean_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

}  // namespace

CpuAgent::CpuAgent(const Config& config, const Task& task, ThreadPool& pool)
    : Agent(config, task, pool),
      ensemble_(config.model, spec_.nx, spec_.nu, learned_outputs(config, spec_),
                config.planner.precision, config.trainer.seed),
      critics_(config.critic, spec_.nx, spec_.nu, config.trainer.seed),
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

Models CpuAgent::models(bool target, int critic) const {
  const DynamicsModel* learned = dynamics_[ensemble_.active()].get();
  return {simulator_ ? simulator_.get() : learned, reward_.get(),
          (target ? target_value_ : online_value_)[critic].get(),
          (target ? target_policy_ : online_policy_).get()};
}

double CpuAgent::value() const { return mean_of(value_); }
double CpuAgent::effective_samples() const { return mean_of(samples_); }

void CpuAgent::start_episode(int environment, std::uint32_t episode) {
  const std::size_t size = planner_.plan_size();
  planner_.draw({config_.trainer.seed, episode}, kEpisodePlan,
                std::span(plan_).subspan(environment * size, size));
}

std::span<const float> CpuAgent::act(std::span<const float> x, std::int64_t step) {
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

void CpuAgent::store(int environment, std::span<const float> x, std::span<const float> next,
                     float reward, bool terminated) {
  const std::size_t size = planner_.plan_size(), nu = spec_.nu;
  const std::span<const float> action = std::span(action_).subspan(environment * nu, nu);
  replay_.add(x, action, next, reward, terminated,
              std::span(plan_).subspan(environment * size, size));
  count_transition(x, action, next, reward);
}

void CpuAgent::refresh_normalisation() {
  refresh_members(ensemble_.normalisation(), ensemble_.outputs());
  NetNormalisation& critic = critics_.normalisation();
  refresh_critics(critic);
  const std::size_t nx = spec_.nx;
  if (config_.critic.normalisation == Normalisation::none || !policy_) return;
  for (NetWeights* w : {&policy_->exported(), &policy_->exported_target()}) {
    std::copy_n(critic.input_mean.begin(), nx, w->normalisation.input_mean.begin());
    std::copy_n(critic.input_std.begin(), nx, w->normalisation.input_std.begin());
  }
}

void CpuAgent::compute_targets(const ReplayBatch& batch) {
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

void CpuAgent::critic_update(UpdateSums& sums) {
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

void CpuAgent::publish_critics() {
  critics_.publish();
  if (!policy_) return;
  policy_->export_weights();
  online_policy_->update(policy_->exported());
  target_policy_->update(policy_->exported_target());
}

/// The members are updated beside the target plans, which still use them as they were.
void CpuAgent::start_model_update() {
  ensemble_.prepare(model_batch_);
  for (int member = 0; member < ensemble_.members(); ++member)
    pool_.start([this, member](int worker) { ensemble_.update_member(member, scratch_[worker]); });
}

void CpuAgent::learn(Round round, const Simulation* beside, UpdateSums& sums) {
  if (beside)
    for (int e = 0; e < beside->environments; ++e)
      pool_.start([beside, e](int) { beside->step(e); });
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

Bundle CpuAgent::bundle() const {
  Bundle b = empty_bundle();
  b.members = ensemble_.weights();
  b.outputs = ensemble_.outputs();
  b.critics = critics_.weights();
  if (policy_) b.policy = policy_->exported();
  return b;
}

void CpuAgent::save(TensorFile& file) {
  ensemble_.save(file);
  critics_.save(file);
  if (policy_) policy_->save(file);
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
  ensemble_.load(file);
  critics_.load(file);
  if (policy_) policy_->load(file);
  publish_critics();
}

}  // namespace softmpc
