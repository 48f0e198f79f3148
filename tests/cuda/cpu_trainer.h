// SPDX-License-Identifier: Apache-2.0
// What a device trainer is compared with: the learners and planners of the CPU in a plain order.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/random_models.h"
#include "learn/initialisation.h"
#include "learn/learners.h"
#include "learn/net_specs.h"
#include "learn/policy_learner.h"
#include "planner_targets.h"
#include "replay.h"
#include "softmpc/thread_pool.h"
#include "test_device.h"
#include "train/device_trainer.h"

namespace softmpc::cuda::testing {

using softmpc::testing::TestReward;

/// A small run and its simulator: a stable linear system that ends where x_0 is high.
struct Experiment {
  Config config;
  int nx = 3, nu = 2;
  TestReward reward;
  TrainTask task;

  explicit Experiment(const std::vector<const char*>& settings = {})
      : reward(3, 2, true), task{3, 2, {-1, -0.8f}, {0.9f, 1}, {}, &reward} {
    for (const char* s :
         {"planner.rollouts=24", "planner.horizon=3", "targets.rollouts=10", "model.width=16",
          "critic.width=16", "model.members=3", "model.batch_size=8", "critic.batch_size=6",
          "trainer.steps=60", "trainer.replay_capacity=40", "planner.temperature=0.5"})
      apply_setting(config, s);
    for (const char* s : settings) apply_setting(config, s);
    task.outputs.reward = config.model.reward == Learned::always ||
                          config.policy.objective == PolicyObjective::rollout;
    task.outputs.termination =
        config.planner.handle_terminations && config.model.termination == Learned::always;
  }
  int envs() const { return config.trainer.envs; }

  NetWeights members() const {
    const int regressed = nx + task.outputs.reward;
    return start(config.model.members,
                 NetSpec::mlp(nx + nu, config.model.width, config.model.layers,
                              regressed + task.outputs.termination +
                                  (config.model.loss == Loss::gaussian_nll ? regressed : 0),
                              config.model.layer_norm),
                 kMembers);
  }
  NetWeights critics() const {
    return start(config.critic.count,
                 NetSpec::mlp(nx + nu, config.critic.width, config.critic.layers, 1,
                              config.critic.layer_norm),
                 kCritics);
  }
  bool has_policy() const { return config.planner.proposals != Proposals::plan; }
  TrainWeights weights() const {
    return {members(), critics(),
            has_policy() ? start(1, policy_spec(config.policy, nx, nu), kPolicy) : NetWeights{}};
  }
  NetWeights start(int stack, const NetSpec& spec, std::uint32_t network) const {
    NetWeights w = NetWeights::zeros(stack, spec);
    w.parameters = initial_parameters(stack, spec, config.trainer.seed, network);
    return w;
  }
  std::unique_ptr<DeviceTrainer> trainer(std::shared_ptr<Device> device = test_device()) const {
    return std::make_unique<DeviceTrainer>(config, task, weights(), device);
  }
};

/// The transition from x with action a.
struct Simulated {
  std::vector<float> next;
  float reward;
  bool terminated;
};
inline Simulated simulate(const Experiment& run, std::span<const float> x,
                          std::span<const float> a) {
  Simulated s;
  for (int i = 0; i < run.nx; ++i)
    s.next.push_back(0.9f * x[i] + 0.2f * x[(i + 1) % run.nx] + 0.4f * a[i % run.nu]);
  run.reward.reward({x.data(), 1}, {a.data(), 1}, {s.next.data(), 1}, 1, &s.reward);
  s.terminated = s.next[0] > 0.8f;
  return s;
}

/// The trainer of the CPU without its scheduling, as models/agent.cpp.
class CpuTrainer {
 public:
  explicit CpuTrainer(const Experiment& run)
      : run_(run),
        pool_(1),
        ensemble_(run.config.model, run.nx, run.nu, run.task.outputs, Precision::float32,
                  run.config.trainer.seed),
        critics_(run.config.critic, run.nx, run.nu, run.config.trainer.seed),
        replay(run.nx, run.nu, (run.config.planner.horizon + 1) * run.nu,
               run.config.trainer.replay_capacity) {
    for (int copy = 0; copy < 2; ++copy)
      dynamics_[copy] =
          std::make_unique<MlpDynamics>(ensemble_.net(copy), run.nx, run.nu, run.task.outputs);
    for (int c = 0; c < run.config.critic.count; ++c) {
      value_.push_back(std::make_unique<MlpValue>(critics_.net(), run.nx, run.nu, c));
      target_.push_back(std::make_unique<MlpValue>(critics_.target(), run.nx, run.nu, c));
    }
    if (run.has_policy()) {
      policy_.emplace(learner_setup());
      proposing_ = std::make_unique<MlpPolicy>(policy_->weights(policy_constants()),
                                               run.task.action_low, run.task.action_high);
    }
    planner_ =
        make_planner(run.config.planner, shape(run.envs()), models(*value_[0]), {.pool = &pool_});
    targets_.emplace(run.config, shape(run.config.critic.batch_size), models(*target_[0]), pool_);
    plan.resize(run.envs() * planner_->plan_size());
    action.resize(static_cast<std::size_t>(run.envs()) * run.nu);
    value.resize(run.envs());
  }
  ProblemShape shape(int problems) const {
    return {run_.nx, run_.nu, run_.task.action_low, run_.task.action_high, problems};
  }
  std::span<float> plan_of(int e) {
    return std::span(plan).subspan(e * planner_->plan_size(), planner_->plan_size());
  }
  void start_episode(int e, std::uint32_t episode) {
    planner_->draw({run_.config.trainer.seed, episode}, kEpisodePlan, plan_of(e));
  }
  void act(std::span<const float> x) {
    for (int e = 0; e < run_.envs(); ++e) planner_->shift(plan_of(e));
    PlanBatch batch;
    batch.problems = run_.envs();
    batch.observation = x;
    batch.plan = plan;
    batch.action = action;
    batch.value = value;
    planner_->update(models(*value_[0]));
    planner_->solve({run_.config.trainer.seed, solves++}, batch);
  }
  void store(int e, std::span<const float> x, const Simulated& s) {
    const std::size_t nu = run_.nu;
    replay.add(x, std::span(action).subspan(e * nu, nu), s.next, s.reward, s.terminated,
               plan_of(e));
  }
  void update(bool critic, bool model, std::int64_t pending) {
    const std::uint64_t seed = run_.config.trainer.seed;
    ReplayBatch critic_batch, model_batch;
    if (critic) replay.draw(seed, draws++, run_.config.critic.batch_size, pending, critic_batch);
    if (model) replay.draw(seed, draws++, run_.config.model.batch_size, pending, model_batch);
    replay.gather(critic_batch);
    replay.gather(model_batch);
    std::vector<float> y(critic_batch.size);
    if (critic)
      targets_->compute(
          critic_batch, [&](int c) { return models(*target_[c]); }, solves, replay, y);
    if (model) {
      ensemble_.prepare(model_batch);
      for (int e = 0; e < ensemble_.members(); ++e) ensemble_.update_member(e, scratch_);
    }
    if (critic) {
      const ImaginedRows* imagined =
          policy_ ? policy_->imagine(critic_batch, ensemble_, critics_, policy_constants())
                  : nullptr;
      const CriticStep step = critics_.update(critic_batch, y, imagined);
      sums.critic_loss += step.loss;
      sums.q += step.mean_value;
      for (float v : y) sums.target += v / static_cast<double>(critic_batch.size);
      ++sums.critic_updates;
      critics_.publish();
      if (policy_ && critics_.updates() % run_.config.policy.update_interval == 0)
        policy_->update(critic_batch, ensemble_, critics_, policy_constants());
    }
    if (model) {
      sums.model_loss += ensemble_.finish();
      ++sums.model_updates;
    }
    if (policy_) proposing_->update(policy_->weights(policy_constants()));
  }
  NetWeights members() const { return ensemble_.weights(); }
  NetWeights critics() const { return critics_.weights(); }
  NetWeights policy() const {
    return policy_ ? policy_->weights(policy_constants()) : NetWeights{};
  }

 private:
  NetNormalisation policy_constants() const {
    return policy_normalisation(critics_.normalisation(), run_.nx, run_.nu);
  }
  LearnerSetup learner_setup() const {
    LearnerSetup s;
    const TrainTask& t = run_.task;
    s.policy = run_.config.policy, s.planner = target_planner(run_.config);
    s.critic = run_.config.critic;
    s.nx = t.nx, s.nu = t.nu, s.action_low = t.action_low, s.action_high = t.action_high;
    s.outputs = t.outputs, s.reward = t.reward, s.seed = run_.config.trainer.seed;
    return s;
  }
  Models models(const MlpValue& v) const {
    return {dynamics_[ensemble_.active()].get(), run_.task.reward, &v, proposing_.get()};
  }
  const Experiment& run_;
  ThreadPool pool_;
  EnsembleLearner ensemble_;
  CriticLearner critics_;

 public:
  Replay replay;

 private:
  std::unique_ptr<MlpDynamics> dynamics_[2];
  std::vector<std::unique_ptr<MlpValue>> value_, target_;
  std::optional<PolicyLearner> policy_;
  std::unique_ptr<MlpPolicy> proposing_;
  std::unique_ptr<Planner> planner_;
  std::optional<PlannerTargets> targets_;
  TrainScratch scratch_;

 public:
  std::vector<float> plan, action;
  std::vector<double> value;
  std::uint32_t solves = 0;
  std::uint64_t draws = 0;
  DeviceSums sums;
};

}  // namespace softmpc::cuda::testing
