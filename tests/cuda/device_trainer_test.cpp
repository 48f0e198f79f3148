// SPDX-License-Identifier: Apache-2.0
// Tests for cuda/device_trainer.cpp: whole training steps on the device against the learners and
// planners of the CPU; bits under every order of threads; state out and in again.
#include "train/device_trainer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "core/random_models.h"
#include "learn/initialisation.h"
#include "learn/learners.h"
#include "learn/net_specs.h"
#include "learn/policy_learner.h"
#include "planner_targets.h"
#include "replay.h"
#include "runtime/device.h"
#include "softmpc/error.h"
#include "softmpc/hd/replay.h"
#include "softmpc/thread_pool.h"
#include "test_device.h"

namespace softmpc::cuda {
namespace {

using softmpc::testing::Random;
using softmpc::testing::TestReward;
using testing::test_device;

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
Simulated simulate(const Experiment& run, std::span<const float> x, std::span<const float> a) {
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
    s.policy = run_.config.policy, s.planner = run_.config.planner;
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

double difference(std::span<const float> a, std::span<const float> b) {
  EXPECT_EQ(a.size(), b.size());
  double sum = 0, size = 0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    sum += std::pow(static_cast<double>(a[i]) - b[i], 2);
    size += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::sqrt(sum / (size + 1e-12));
}

double difference(const NetWeights& a, const NetWeights& b) {
  double worst = 0;
  b.spec.for_each_slot([&](const ParameterSlot& slot) {
    worst =
        std::max(worst, difference(a.slot(slot.layer, slot.part), b.slot(slot.layer, slot.part)));
  });
  return worst;
}

/// Environments that both trainers act in; the device's actions decide.
struct Worlds {
  std::vector<float> x, next;
  std::vector<bool> fresh;
  std::uint32_t episodes = 0;
  explicit Worlds(const Experiment& run)
      : x(run.envs() * run.nx), next(x), fresh(run.envs(), true) {}
  std::span<float> row(std::vector<float>& v, const Experiment& run, int e) {
    return std::span(v).subspan(static_cast<std::size_t>(e) * run.nx, run.nx);
  }
  template <class Start>
  void begin(const Experiment& run, const Start& start) {
    for (int e = 0; e < run.envs(); ++e) {
      if (!fresh[e]) continue;
      for (int i = 0; i < run.nx; ++i)
        row(x, run, e)[i] =
            0.1f * static_cast<float>(i + e) - 0.05f * static_cast<float>(episodes % 5);
      start(e, episodes++);
      fresh[e] = false;
    }
  }
};

/// Whether the next round of both kinds draws a slot that this step's transitions go to.
bool draws_pending(const Experiment& run, const DeviceTrainer& device) {
  const TrainerConfig& c = run.config.trainer;
  const auto slots = std::min(device.added() + run.envs(), c.replay_capacity);
  for (std::uint64_t k = 0; k < 2; ++k) {
    const int rows = k == 0 ? run.config.critic.batch_size : run.config.model.batch_size;
    for (int i = 0; i < rows; ++i) {
      const std::int64_t slot = hd::replay_slot(c.seed, device.draws() + k, i, slots);
      const std::int64_t ahead =
          (slot - device.added() % c.replay_capacity + c.replay_capacity) % c.replay_capacity;
      if (ahead < run.envs()) return true;
    }
  }
  return false;
}

/// Acts and updates as the trainer of models/ does: from the second transition on, the first round
/// before the step's transitions are stored where it draws none of them.
void train(const Experiment& run, DeviceTrainer& device, CpuTrainer* cpu, int steps, Worlds& w,
           double tolerance = 2e-4) {
  for (int step = 0; step < steps; ++step) {
    w.begin(run, [&](int e, std::uint32_t episode) {
      device.start_episode(e, episode);
      if (cpu) cpu->start_episode(e, episode);
    });
    device.act(w.x);
    if (cpu) {
      cpu->act(w.x);
      EXPECT_LT(difference(device.action(), cpu->action), tolerance) << "step " << step;
      for (int e = 0; e < run.envs(); ++e)
        EXPECT_NEAR(device.value()[e], cpu->value[e], tolerance * (1 + std::abs(cpu->value[e])));
      // go on from the same plans and actions, so that differences do not grow
      std::ranges::copy(device.action(), cpu->action.begin());
    }
    const auto store = [&] {
      for (int e = 0; e < run.envs(); ++e) {
        const auto a = device.action().subspan(static_cast<std::size_t>(e) * run.nu, run.nu);
        const Simulated s = simulate(run, w.row(w.x, run, e), a);
        device.store(e, w.row(w.x, run, e), a, s.next, s.reward, s.terminated);
        if (cpu) cpu->store(e, w.row(w.x, run, e), s);
        std::ranges::copy(s.next, w.row(w.next, run, e).begin());
        w.fresh[e] = s.terminated;
      }
      w.x.swap(w.next);
    };
    if (device.added() + run.envs() < 2) {
      store();
      continue;
    }
    bool stored = false;
    for (int k = 0; k < 2; ++k) {
      const bool critic = k == 0 || step % 5 != 4, model = k == 0 || step % 4 != 3;
      const bool beside = !stored && !draws_pending(run, device);
      if (!stored && !beside) store();
      const int pending = beside ? run.envs() : 0;
      device.update(critic, model);
      if (cpu) cpu->update(critic, model, pending);
      if (beside) store();
      stored = true;
    }
  }
}

void expect_equal(const Experiment& run, DeviceTrainer& device, CpuTrainer& cpu, double tolerance) {
  TrainWeights found = run.weights();
  device.read_weights(found);
  EXPECT_LT(difference(found.members, cpu.members()), tolerance);
  EXPECT_LT(difference(found.critics, cpu.critics()), tolerance);
  EXPECT_LT(difference(found.policy, cpu.policy()), tolerance);
  EXPECT_EQ(device.added(), cpu.replay.added());
  EXPECT_EQ(device.draws(), cpu.draws);
  EXPECT_EQ(device.solves(), cpu.solves);
  const std::size_t size = static_cast<std::size_t>(cpu.replay.size());
  std::vector<float> records(size * cpu.replay.record_floats());
  std::vector<float> plans(size * cpu.replay.plan_floats());
  device.read_replay(0, records, plans);
  for (std::size_t slot = 0; slot < size; ++slot) {
    const auto record = cpu.replay.record(static_cast<std::int64_t>(slot));
    const auto plan = cpu.replay.plan(static_cast<std::int64_t>(slot));
    EXPECT_TRUE(std::ranges::equal(
        record, std::span(records).subspan(slot * record.size(), record.size())));
    EXPECT_LT(difference(std::span(plans).subspan(slot * plan.size(), plan.size()), plan), 1e-2)
        << "slot " << slot;
  }
  const DeviceSums sums = device.finish();
  EXPECT_EQ(sums.critic_updates, cpu.sums.critic_updates);
  EXPECT_EQ(sums.model_updates, cpu.sums.model_updates);
  const auto near = [&](double a, double b) { EXPECT_NEAR(a, b, 1e-3 * (1 + std::abs(b))); };
  near(sums.critic_loss, cpu.sums.critic_loss);
  near(sums.model_loss, cpu.sums.model_loss);
  near(sums.q, cpu.sums.q);
  near(sums.target, cpu.sums.target);
  EXPECT_EQ(sums.worst, PlanStatus::ok);
}

using Settings = std::vector<const char*>;

TEST(DeviceTrainer, StepsEqualThoseOfTheCpu) {
  const Settings variants[] = {
      {},
      {"critic.count=2", "critic.loss=huber", "targets.iterations=2", "critic.target_interval=3"},
      {"critic.layer_norm=true"},
      {"critic.layer_norm=true", "model.layer_norm=true", "critic.count=2", "critic.layers=3",
       "model.width=21", "critic.width=22", "model.batch_size=40", "model.loss=gaussian_nll"},
      {"trainer.envs=3", "model.loss=huber", "planner.prior=uniform", "planner.variance=0.05"},
      {"targets.warm_start=false", "model.layers=1", "critic.layers=3",
       "planner.member_draw=per_rollout"},
      {"model.loss=gaussian_nll", "model.reward=always", "planner.handle_terminations=true",
       "model.termination=always"},
      {"planner.covariance=[[0.1,0.06],[0.06,0.08]]", "targets.warm_start=false"},
      {"planner.covariance=[[0.05,-0.03],[-0.03,0.04]]", "planner.prior=uniform"},
      {"trainer.replay_capacity=9", "trainer.envs=2", "planner.control_mode=mean_residual"},
      {"planner.proposals=plan_and_policy", "policy.width=16"},
      {"planner.proposals=plan_and_policy", "policy.objective=rollout", "policy.width=16",
       "policy.update_interval=1", "critic.count=2", "planner.iterations=2"},
      {"planner.proposals=plan_and_policy", "policy.objective=rollout", "policy.width=24",
       "policy.layers=3", "policy.update_interval=2", "planner.handle_terminations=true",
       "trainer.envs=3", "planner.covariance=[[0.1,0.06],[0.06,0.08]]"},
      {"planner.proposals=plan_and_policy", "policy.objective=rollout", "policy.width=16",
       "planner.prior=uniform", "planner.handle_terminations=true", "model.termination=always",
       "model.loss=gaussian_nll", "targets.warm_start=false"},
      {"planner.proposals=plan_and_policy", "policy.objective=rollout", "policy.width=16",
       "policy.update_interval=1", "critic.imagined_steps=3", "planner.handle_terminations=true"},
      {"planner.proposals=plan_and_policy", "policy.objective=rollout", "policy.width=16",
       "policy.update_interval=2", "critic.imagined_steps=1", "critic.count=2",
       "critic.batch_size=37", "critic.layer_norm=true", "critic.loss=huber",
       "planner.covariance=[[0.1,0.06],[0.06,0.08]]"}};
  for (const Settings& settings : variants) {
    const Experiment run(settings);
    SCOPED_TRACE(settings.empty() ? "default" : settings[0]);
    auto device = run.trainer();
    CpuTrainer cpu(run);
    Worlds worlds(run);
    train(run, *device, &cpu, 14, worlds);
    expect_equal(run, *device, cpu, 1e-5);
  }
}

TEST(DeviceTrainer, Float16StaysCloseToTheCpu) {
  for (const char* norm : {"critic.layer_norm=false", "critic.layer_norm=true"}) {
    SCOPED_TRACE(norm);
    const Experiment run({"planner.precision=float16", norm}), reference({norm});
    auto device = run.trainer();
    CpuTrainer cpu(reference);
    Worlds worlds(run);
    train(run, *device, &cpu, 8, worlds, 1e-2);
    TrainWeights found = run.weights();
    device->read_weights(found);
    // Adam's first steps are as long as the rate, whatever the gradient: differences are its sign's
    EXPECT_LT(difference(found.members, cpu.members()), 5e-3);
    EXPECT_LT(difference(found.critics, cpu.critics()), 5e-3);
  }
}

std::vector<float> bits_of(DeviceTrainer& t) {
  const DeviceTrainerState s = t.read_state();
  std::vector<float> bits;
  for (const auto* v :
       {&s.members.parameters, &s.members.mean, &s.members.variance, &s.critics.parameters,
        &s.critics.mean, &s.critics.variance, &s.policy.parameters, &s.policy.mean,
        &s.policy.variance, &s.targets, &s.policy_target, &s.plan})
    bits.insert(bits.end(), v->begin(), v->end());
  return bits;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

TEST(DeviceTrainer, BitsDoNotDependOnTheOrderOfThreadsAndBlocks) {
  const Experiment run({"critic.count=2", "critic.layer_norm=true",
                        "planner.proposals=plan_and_policy", "policy.objective=rollout",
                        "policy.width=16", "critic.imagined_steps=2"});
  std::vector<float> first;
  for (const emulator::RunOptions& options : emulator::all_orders(1)) {
    auto trainer = run.trainer(test_device(90, 0, options));
    Worlds worlds(run);
    train(run, *trainer, nullptr, 6, worlds);
    const auto bits = bits_of(*trainer);
    if (first.empty()) first = bits;
    EXPECT_TRUE(same_bits(bits, first)) << emulator::to_string(options);
  }
}

TEST(DeviceTrainer, ARestoredTrainerGoesOnBitForBit) {
  const Experiment run({"trainer.envs=2", "critic.layer_norm=true",
                        "planner.proposals=plan_and_policy", "policy.objective=rollout",
                        "policy.width=16", "critic.imagined_steps=2"});
  auto whole = run.trainer();
  Worlds worlds(run);
  train(run, *whole, nullptr, 5, worlds);

  const DeviceTrainerState state = whole->read_state();
  const std::size_t size = static_cast<std::size_t>(state.added);
  std::vector<float> records(size * (2 * run.nx + run.nu + 2)), plans(size * 4 * run.nu);
  whole->read_replay(0, records, plans);
  auto restored = run.trainer();
  restored->write_state(state);
  restored->write_replay(0, records, plans);
  Worlds copy = worlds;
  train(run, *whole, nullptr, 5, worlds);
  train(run, *restored, nullptr, 5, copy);
  EXPECT_TRUE(same_bits(bits_of(*restored), bits_of(*whole)));
  EXPECT_EQ(copy.x, worlds.x);
}

TEST(DeviceTrainer, RefusesWhatItCannotDoInOneSentence) {
  for (const char* setting : {"planner.control_mode=policy_residual", "targets.source=policy",
                              "trainer.acting=policy", "model.source=environment"}) {
    const Experiment run({setting});
    try {
      run.trainer();
      ADD_FAILURE() << setting;
    } catch (const UsageError& e) {
      const std::string text = e.what(), key(setting, std::strchr(setting, '='));
      EXPECT_TRUE(text.starts_with(key + ": ")) << text;
      EXPECT_EQ(text.find('\n'), std::string::npos);
    }
  }
}

TEST(DeviceTrainer, ADivergedNetworkIsReported) {
  const Experiment run;
  auto trainer = run.trainer();
  Worlds worlds(run);
  train(run, *trainer, nullptr, 4, worlds);
  DeviceTrainerState state = trainer->read_state();
  for (float& p : state.targets) p = std::nanf("");
  trainer->write_state(state);
  trainer->update(true, false);
  EXPECT_EQ(trainer->finish().worst, PlanStatus::not_finite);
}

}  // namespace
}  // namespace softmpc::cuda
