// SPDX-License-Identifier: Apache-2.0
#include "agent.h"

#include <algorithm>
#include <cmath>
#include <limits>

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

PlannerConfig target_config(const Config& c) {
  PlannerConfig p = c.planner;
  p.rollouts = c.targets.rollouts;
  p.iterations = c.targets.iterations;
  return p;
}

}  // namespace

Agent::Agent(const Config& config, const Task& task, ThreadPool& pool)
    : config_(config),
      spec_(task.spec({config.environment.positions, config.environment.time_limit})),
      pool_(pool),
      reward_(
          make_rollout_reward(task, {config.environment.positions, config.environment.time_limit})),
      ensemble_(config.model, spec_.nx, spec_.nu, learned_outputs(config, spec_),
                config.trainer.seed),
      critics_(config.critic, spec_.nx, spec_.nu, config.trainer.seed),
      replay_(spec_.nx, spec_.nu, (config.planner.horizon + 1) * spec_.nu,
              config.trainer.replay_capacity),
      input_statistics_(spec_.nx + spec_.nu),
      output_statistics_(spec_.nx + 1),
      planner_(config.planner, shape_for(spec_, 1), &pool),
      target_planner_(target_config(config), shape_for(spec_, config.critic.batch_size), &pool) {
  if (config.model.source == ModelSource::environment)
    simulator_ = task.make_dynamics({config.environment.positions, config.environment.time_limit});
  if (needs_policy(config))
    policy_.emplace(config.policy, spec_.nx, spec_.action_low, spec_.action_high,
                    config.trainer.seed);
  for (auto& dynamics : dynamics_)
    dynamics = std::make_unique<MlpDynamics>(ensemble_.exported(), spec_.nx, spec_.nu,
                                             ensemble_.outputs());
  for (int c = 0; c < config.critic.count; ++c) {
    online_value_.push_back(std::make_unique<MlpValue>(critics_.exported(), spec_.nx, spec_.nu, c));
    target_value_.push_back(
        std::make_unique<MlpValue>(critics_.exported_target(), spec_.nx, spec_.nu, c));
  }
  if (policy_) {
    online_policy_ =
        std::make_unique<MlpPolicy>(policy_->exported(), spec_.action_low, spec_.action_high);
    target_policy_ = std::make_unique<MlpPolicy>(policy_->exported_target(), spec_.action_low,
                                                 spec_.action_high);
  }
  plan_.resize(planner_.plan_size());
  action_.resize(spec_.nu);
  const std::size_t n = config.critic.batch_size;
  for (auto* v : {&start_plan_, &target_plan_, &refined_plan_}) v->resize(n * planner_.plan_size());
  for (auto* v : {&target_value_of_plan_, &least_value_}) v->resize(n);
  targets_.resize(n);
  status_.resize(n);
}

Models Agent::models(bool target, int critic) const {
  return {simulator_ ? simulator_.get() : dynamics_[active_].get(), reward_.get(),
          (target ? target_value_ : online_value_)[critic].get(),
          (target ? target_policy_ : online_policy_).get()};
}

void Agent::solve(Planner& planner, const Models& models, std::uint32_t solve, int problems,
                  std::span<const float> x, std::span<float> plan, std::span<float> action,
                  std::span<double> value) {
  PlanBatch batch;
  batch.problems = problems;
  batch.observation = x;
  batch.plan = plan;
  batch.action = action;
  batch.value = value;
  batch.status = std::span(status_).first(problems);
  if (problems == 1) batch.effective_samples = {&effective_samples_, 1};
  planner.solve(models, {config_.trainer.seed, solve}, batch);
  for (PlanStatus s : batch.status)
    if (s == PlanStatus::not_finite || s == PlanStatus::bad_state)
      throw Error("training diverged: a plan has status " + std::string(to_string(s)) +
                  "; a smaller learning rate or a larger planner.temperature may help");
}

void Agent::start_episode(std::uint32_t episode) {
  planner_.draw({config_.trainer.seed, episode}, kEpisodePlan, plan_);
}

std::span<const float> Agent::act(std::span<const float> x, std::int64_t step) {
  if (config_.trainer.acting == Acting::planner) {
    planner_.shift(plan_);
    solve(planner_, models(false, 0), solves_++, 1, x, plan_, action_, {&value_, 1});
    return action_;
  }
  // a = clip(mu(x) + N(0, (exploration half-range)^2))
  std::fill(plan_.begin(), plan_.end(), 0.0f);
  action_ = policy_->act({x.begin(), x.end()}, 1, false);
  for (int i = 0; i < spec_.nu; ++i) {
    const hd::Philox4 bits =
        hd::philox({static_cast<std::uint32_t>(step), hd::draw_word(hd::Stream::explore, 0, 0, 0),
                    static_cast<std::uint32_t>(step >> 32), static_cast<std::uint32_t>(i)},
                   config_.trainer.seed);
    float n0, n1;
    hd::normal_pair(bits.x, bits.y, n0, n1);
    const float half = 0.5f * (spec_.action_high[i] - spec_.action_low[i]);
    action_[i] = hd::clip(action_[i] + static_cast<float>(config_.policy.exploration) * half * n0,
                          spec_.action_low[i], spec_.action_high[i]);
  }
  return action_;
}

void Agent::store(std::span<const float> x, std::span<const float> next, float reward,
                  bool terminated) {
  replay_.add(x, action_, next, reward, terminated, plan_);
  if (config_.model.normalisation == Normalisation::none &&
      config_.critic.normalisation == Normalisation::none)
    return;
  std::vector<float> row(x.begin(), x.end());
  row.insert(row.end(), action_.begin(), action_.end());
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
    MlpWeights& w = ensemble_.exported();
    input_statistics_.write(w.input_mean, w.input_std);
    output_statistics_.write(mean, std);
    const std::size_t regressed = nx + ensemble_.outputs().reward;
    std::copy_n(mean.begin(), regressed, w.output_mean.begin());
    std::copy_n(std.begin(), regressed, w.output_std.begin());
  }
  if (config_.critic.normalisation == Normalisation::none) return;
  for (MlpWeights* w : {&critics_.exported(), &critics_.exported_target()})
    input_statistics_.write(w->input_mean, w->input_std);
  if (!policy_) return;
  for (MlpWeights* w : {&policy_->exported(), &policy_->exported_target()}) {
    std::copy_n(critics_.exported().input_mean.begin(), nx, w->input_mean.begin());
    std::copy_n(critics_.exported().input_std.begin(), nx, w->input_std.begin());
  }
}

/// Start plans u+[1:] padded with 0, or fresh draws where there is no warm start.
void Agent::start_plans(const ReplayBatch& batch, std::uint32_t solve) {
  const std::size_t size = planner_.plan_size();
  for (int i = 0; i < batch.size; ++i) {
    const std::span<float> start = std::span(start_plan_).subspan(i * size, size);
    if (config_.targets.warm_start) {
      std::copy_n(batch.plan.begin() + static_cast<std::ptrdiff_t>(i * size), size, start.begin());
      target_planner_.shift(start);
    } else {
      target_planner_.draw({config_.trainer.seed, solve}, static_cast<std::uint32_t>(i), start);
    }
  }
}

/// y = r + gamma (1 - terminated) min over critics V(x'); keeps the plan of the least value.
void Agent::planner_targets(const ReplayBatch& batch) {
  const std::size_t size = planner_.plan_size();
  start_plans(batch, solves_);
  std::fill(least_value_.begin(), least_value_.end(), std::numeric_limits<double>::infinity());
  for (int c = 0; c < config_.critic.count; ++c) {
    target_plan_ = start_plan_;
    solve(target_planner_, models(true, c), solves_++, batch.size, batch.next, target_plan_, {},
          target_value_of_plan_);
    for (int i = 0; i < batch.size; ++i) {
      if (target_value_of_plan_[i] >= least_value_[i]) continue;
      least_value_[i] = target_value_of_plan_[i];
      std::copy_n(target_plan_.begin() + static_cast<std::ptrdiff_t>(i * size), size,
                  refined_plan_.begin() + static_cast<std::ptrdiff_t>(i * size));
    }
  }
  for (int i = 0; i < batch.size; ++i)
    targets_[i] = batch.reward[i] + static_cast<float>(config_.planner.gamma * least_value_[i]) *
                                        (1 - batch.terminated[i]);
  if (config_.targets.warm_start) write_back(batch);
}

/// u+[1:H+1] <- refined plan of x'; of several to one transition the last wins.
void Agent::write_back(const ReplayBatch& batch) {
  const std::size_t size = planner_.plan_size(), nu = spec_.nu;
  std::vector<float> plan(size);
  for (int i = 0; i < batch.size; ++i) {
    std::copy_n(batch.plan.begin() + static_cast<std::ptrdiff_t>(i * size), nu, plan.begin());
    std::copy_n(refined_plan_.begin() + static_cast<std::ptrdiff_t>(i * size), size - nu,
                plan.begin() + static_cast<std::ptrdiff_t>(nu));
    replay_.set_plan(batch.slot[i], plan);
  }
}

void Agent::compute_targets(const ReplayBatch& batch) {
  if (config_.targets.source == TargetSource::planner) return planner_targets(batch);
  // y = r + gamma (1 - terminated) Q_target(x', mu_target(x'))
  const std::vector<float> a = policy_->act(batch.next, batch.size, true);
  const at::Tensor q = critics_.target_value(batch.next, a, batch.size).contiguous();
  for (int i = 0; i < batch.size; ++i)
    targets_[i] = batch.reward[i] + static_cast<float>(config_.planner.gamma) *
                                        (1 - batch.terminated[i]) * q.data_ptr<float>()[i];
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

void Agent::model_update(UpdateSums& sums) {
  sums.model_loss += ensemble_.update(model_batch_);
  ++sums.model_updates;
  ensemble_.export_weights();
  dynamics_[1 - active_]->update(ensemble_.exported());
}

void Agent::pack_critics(bool target) {
  critics_.export_weights();
  for (auto& value : online_value_) value->update(critics_.exported());
  if (target) {
    critics_.export_target();
    for (auto& value : target_value_) value->update(critics_.exported_target());
  }
  if (!policy_) return;
  policy_->export_weights();
  online_policy_->update(policy_->exported());
  target_policy_->update(policy_->exported_target());
}

void Agent::update(std::int64_t count, bool critic, bool model, UpdateSums& sums) {
  use_one_thread();
  const bool learn_model = model && !simulator_;
  const int critic_rounds = critic ? config_.critic.updates_per_step : 0;
  const int model_rounds = learn_model ? config_.model.updates_per_step : 0;
  const std::uint64_t seed = config_.trainer.seed;
  for (std::int64_t n = 0; n < count; ++n)
    for (int round = 0; round < std::max(critic_rounds, model_rounds); ++round) {
      refresh_normalisation();
      const bool with_critic = round < critic_rounds, with_model = round < model_rounds;
      if (with_critic) replay_.sample(seed, draws_++, config_.critic.batch_size, critic_batch_);
      if (with_model) {
        replay_.sample(seed, draws_++, config_.model.batch_size, model_batch_);
        // beside the target plans, which still use the members as they were
        pool_.start([&] {
          use_one_thread();
          model_update(sums);
        });
      }
      try {
        if (with_critic) critic_update(sums);
      } catch (...) {
        pool_.finish();
        throw;
      }
      if (with_model) {
        pool_.finish();
        active_ = 1 - active_;
      }
      if (with_critic)
        pack_critics(critics_.target_moved() ||
                     config_.critic.normalisation == Normalisation::running);
    }
}

Bundle Agent::bundle() const {
  Bundle b;
  b.task = spec_.name;
  b.nx = spec_.nx;
  b.nu = spec_.nu;
  b.action_low = spec_.action_low;
  b.action_high = spec_.action_high;
  b.dt = spec_.dt;
  b.members = ensemble_.exported();
  b.outputs = ensemble_.outputs();
  b.critics = critics_.exported();
  if (policy_) b.policy = policy_->exported();
  b.config = config_;
  return b;
}

void Agent::visit(const TensorVisitor& visitor) {
  ensemble_.visit(visitor);
  critics_.visit(visitor);
  if (policy_) policy_->visit(visitor);
}

void Agent::save(TensorFile& file) {
  visit([&](const std::string& name, at::Tensor& tensor) {
    file.tensors[name] = Tensor::of<float>(
        {tensor.numel()}, {tensor.data_ptr<float>(), static_cast<std::size_t>(tensor.numel())});
  });
  const std::int64_t counters[] = {static_cast<std::int64_t>(solves_),
                                   static_cast<std::int64_t>(draws_), critics_.updates(),
                                   replay_.added()};
  file.tensors["agent.counters"] = Tensor::of<std::int64_t>({4}, counters);
  put(file, "agent.plan", plan_);
  put(file, "agent.input_statistics", input_statistics_.save());
  put(file, "agent.output_statistics", output_statistics_.save());
}

void Agent::load(const TensorFile& file) {
  visit([&](const std::string& name, at::Tensor& tensor) {
    const std::vector<float> values = get<float>(file, name, tensor.numel());
    std::copy(values.begin(), values.end(), tensor.data_ptr<float>());
  });
  const auto counters = get<std::int64_t>(file, "agent.counters", 4);
  solves_ = static_cast<std::uint32_t>(counters[0]);
  draws_ = static_cast<std::uint64_t>(counters[1]);
  critics_.set_updates(counters[2]);
  replay_.restore(counters[3]);
  plan_ = get<float>(file, "agent.plan", plan_.size());
  input_statistics_.load(
      get<double>(file, "agent.input_statistics", input_statistics_.save().size()));
  output_statistics_.load(
      get<double>(file, "agent.output_statistics", output_statistics_.save().size()));
  refresh_normalisation();
  ensemble_.export_weights();
  dynamics_[active_]->update(ensemble_.exported());
  pack_critics(true);
}

}  // namespace softmpc
