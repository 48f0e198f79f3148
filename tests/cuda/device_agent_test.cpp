// SPDX-License-Identifier: Apache-2.0
// Tests for models/device_agent.cpp: the agent with its networks on a device against the CPU's, on
// small tasks, and its checkpoints.
#include "device_agent.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "diagnostics.h"
#include "episodes.h"
#include "softmpc/error.h"
#include "test_device.h"

namespace softmpc {
namespace {

using cuda::testing::test_device;
using Settings = std::vector<const char*>;

Config small(const Settings& settings) {
  Config c;
  for (const char* s :
       {"planner.rollouts=24", "planner.horizon=3", "planner.temperature=0.5", "targets.rollouts=6",
        "model.width=16", "critic.width=16", "model.members=3", "model.batch_size=8",
        "critic.batch_size=8", "trainer.steps=100", "trainer.threads=1", "environment.time_limit=9",
        "trainer.replay_capacity=30"})
    apply_setting(c, s);
  for (const char* s : settings) apply_setting(c, s);
  return c;
}

/// One agent with its own environments, as the trainer runs them.
struct Experiment {
  Config config;
  ThreadPool pool{1};
  Episodes episodes;
  Diagnostics diagnostics;
  std::unique_ptr<Agent> agent;
  TrainObserver observer;
  UpdateSums sums;
  std::int64_t step = 0;

  Experiment(const Config& c, const Task& task, bool device)
      : config(c), episodes(c, task), diagnostics(c.trainer.envs, make_rollout_reward(task, {})) {
    if (device)
      agent = std::make_unique<DeviceAgent>(c, task, pool, test_device());
    else
      agent = make_agent(c, task, pool);
  }
  void advance(int steps) {
    for (int i = 0; i < steps; ++i) {
      episodes.begin(*agent);
      const auto actions = agent->act(episodes.observations(), step);
      const int n = episodes.count();
      const Simulation simulation = {n, [&](int e) { episodes.step(e, actions); },
                                     [&] { episodes.store(*agent, step, observer); }};
      if (agent->replay().added() + n < config.trainer.learning_starts) {
        agent->simulate(simulation);
      } else {
        Updates updates{.count = n};
        agent->simulate_and_update(simulation, updates, sums, nullptr);
      }
      for (int e = 0; e < n; ++e) diagnostics.add(agent->values()[e], episodes.ended(e));
      step += n;
    }
  }
  std::map<std::string, double> judge() {
    agent->finish(sums);
    std::map<std::string, double> values;
    diagnostics.judge(agent->replay(), agent->bundle(), pool, values);
    return values;
  }
  TensorFile state() {
    agent->finish(sums);
    TensorFile file;
    agent->save(file);
    episodes.save(file);
    return file;
  }
};

/// Largest difference of an entry's norm, relative.
double difference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return INFINITY;
  double sum = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    sum += std::pow(static_cast<double>(a[i]) - b[i], 2);
    size += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::sqrt(sum / (size + 1e-12));
}

void expect_same(Experiment& device, Experiment& cpu) {
  const TensorFile a = device.state(), b = cpu.state();
  for (const char* name : {"members.parameters", "critics.parameters", "critics.target"})
    EXPECT_LT(difference(a.tensors.at(name).values<float>(), b.tensors.at(name).values<float>()),
              1e-4)
        << name;
  for (const char* name : {"agent.counters", "members.adam_count", "critics.updates"})
    EXPECT_EQ(a.tensors.at(name).values<std::int64_t>(), b.tensors.at(name).values<std::int64_t>())
        << name;
  for (const char* name : {"policy.parameters", "policy.target"}) {
    if (!b.tensors.contains(name)) continue;
    EXPECT_LT(difference(a.tensors.at(name).values<float>(), b.tensors.at(name).values<float>()),
              1e-4)
        << name;
  }
  EXPECT_EQ(a.tensors.size(), b.tensors.size());
  const Replay &mine = device.agent->replay(), &theirs = cpu.agent->replay();
  ASSERT_EQ(mine.size(), theirs.size());
  for (std::int64_t slot = 0; slot < mine.size(); ++slot) {
    const auto copy = [](std::span<const float> v) { return std::vector(v.begin(), v.end()); };
    EXPECT_LT(difference(copy(mine.record(slot)), copy(theirs.record(slot))), 1e-3);
    EXPECT_LT(difference(copy(mine.plan(slot)), copy(theirs.plan(slot))), 1e-2);
  }
  EXPECT_EQ(mine.changed_plans().size(), theirs.changed_plans().size());
  EXPECT_EQ(device.sums.critic_updates, cpu.sums.critic_updates);
  EXPECT_NEAR(device.sums.critic_loss, cpu.sums.critic_loss, 1e-3 * (1 + cpu.sums.critic_loss));
  EXPECT_NEAR(device.sums.model_loss, cpu.sums.model_loss, 1e-3 * (1 + cpu.sums.model_loss));
}

TEST(DeviceAgent, TrainsAsTheCpuDoes) {
  const Settings variants[] = {
      {},
      {"trainer.envs=2", "critic.count=2", "critic.updates_per_step=2", "trainer.random_steps=9"},
      {"model.normalisation=running", "critic.normalisation=running", "targets.horizon=2"},
      {"critic.layer_norm=true", "model.layer_norm=true"},
      {"planner.handle_terminations=true", "model.reward=always", "model.loss=gaussian_nll"},
      {"planner.proposals=plan_and_policy", "policy.width=16"},
      {"planner.proposals=plan_and_policy", "policy.objective=rollout", "policy.width=16",
       "trainer.envs=2", "planner.handle_terminations=true"},
      {"planner.proposals=plan_and_policy", "policy.objective=rollout", "policy.width=16",
       "critic.layer_norm=true", "model.layer_norm=true", "critic.imagined_steps=2"},
      {"planner.proposals=plan_and_policy", "policy.objective=rollout", "policy.width=16",
       "model.normalisation=running", "critic.normalisation=running", "critic.count=2"}};
  for (const Settings& settings : variants) {
    SCOPED_TRACE(settings.empty() ? "default" : settings[0]);
    const Config config = small(settings);
    const Task& task = find_task("InvertedPendulum");
    Experiment cpu(config, task, false), device(config, task, true);
    cpu.advance(24);
    device.advance(24);
    expect_same(device, cpu);
  }
}

TEST(DeviceAgent, LearnsAnewAsTheCpuDoes) {
  const Config config = small({"planner.proposals=plan_and_policy", "policy.objective=rollout",
                               "policy.width=16", "critic.normalisation=running"});
  const Task& task = find_task("InvertedPendulum");
  for (const Network network : {kMembers, kCritics}) {
    SCOPED_TRACE(network);
    Experiment cpu(config, task, false), device(config, task, true);
    for (Experiment* e : {&cpu, &device}) {
      e->advance(12);
      const TensorFile before = e->state();
      e->agent->learn_anew(network, 5);
      const TensorFile after = e->state();
      const bool members = network == kMembers;
      for (const char* name : {"members.parameters", "members.adam_variance"})
        EXPECT_EQ(before.tensors.at(name) == after.tensors.at(name), !members) << name;
      for (const char* name : {"critics.target", "critics.adam_mean", "policy.parameters"})
        EXPECT_EQ(before.tensors.at(name) == after.tensors.at(name), members) << name;
      e->advance(12);
    }
    expect_same(device, cpu);
  }
}

TEST(DeviceAgent, AResumedRunIsBitForBitTheUninterruptedOne) {
  const Settings variants[] = {{"trainer.envs=2"},
                               {"model.normalisation=running"},
                               {"critic.layer_norm=true"},
                               {"planner.proposals=plan_and_policy", "policy.objective=rollout",
                                "policy.width=16", "critic.normalisation=running"}};
  for (const Settings& settings : variants) {
    const Config config = small(settings);
    const Task& task = find_task("InvertedPendulum");
    Experiment whole(config, task, true);
    whole.advance(11);
    const TensorFile file = whole.state();
    Experiment resumed(config, task, true);
    resumed.agent->load(file);
    const Replay& from = whole.agent->replay();
    for (std::int64_t slot = 0; slot < from.size(); ++slot) {
      resumed.agent->replay().restore_record(slot, from.record(slot));
      resumed.agent->replay().restore_plan(slot, from.plan(slot));
    }
    resumed.agent->replay_restored();
    resumed.episodes.load(file);
    resumed.step = whole.step;
    resumed.sums = whole.sums;
    whole.advance(8);
    resumed.advance(8);
    const TensorFile a = whole.state(), b = resumed.state();
    ASSERT_EQ(a.tensors.size(), b.tensors.size());
    for (const auto& [name, tensor] : a.tensors)
      EXPECT_EQ(tensor.bytes, b.tensors.at(name).bytes) << name;
    for (std::int64_t slot = 0; slot < from.size(); ++slot)
      EXPECT_TRUE(std::ranges::equal(from.plan(slot), resumed.agent->replay().plan(slot)));
    EXPECT_EQ(whole.sums.critic_loss, resumed.sums.critic_loss);
    EXPECT_EQ(whole.sums.model_updates, resumed.sums.model_updates);
  }
}

TEST(DeviceAgent, ItsBundleHoldsTheNetsOfTheDevice) {
  const Config config = small({});
  const Task& task = find_task("InvertedPendulum");
  Experiment run(config, task, true);
  run.advance(6);
  const Bundle bundle = run.agent->bundle();
  const TensorFile file = run.state();
  const auto flat = file.tensors.at("members.parameters").values<float>();
  EXPECT_EQ(flat, bundle.members.parameters);
  EXPECT_EQ(bundle.critics.stack, 1);
}

TEST(DeviceAgent, ItsBundleHasThePolicyThatProposes) {
  const Config config = small({"planner.proposals=plan_and_policy", "policy.objective=rollout",
                               "policy.width=16", "critic.normalisation=running"});
  const Task& task = find_task("InvertedPendulum");
  Experiment run(config, task, true);
  run.advance(6);
  const Bundle bundle = run.agent->bundle();
  const TensorFile file = run.state();
  ASSERT_TRUE(bundle.policy);
  EXPECT_EQ(file.tensors.at("policy.parameters").values<float>(), bundle.policy->parameters);
  const std::vector<float>& critic = bundle.critics.normalisation.input_std;
  EXPECT_TRUE(std::ranges::equal(bundle.policy->normalisation.input_std,
                                 std::span(critic).first(bundle.nx)));
}

TEST(DeviceAgent, IsJudgedAsTheCpuIs) {
  // gamma 0.5: returns are known a few steps before a truncation
  const Config config =
      small({"trainer.envs=2", "planner.gamma=0.5", "planner.handle_terminations=true"});
  const Task& task = find_task("InvertedPendulum");
  Experiment cpu(config, task, false), device(config, task, true);
  for (Experiment* run : {&cpu, &device}) {
    run->advance(12);
    EXPECT_TRUE(run->judge().empty());
    run->advance(12);
  }
  const auto expected = cpu.judge(), found = device.judge();
  for (const char* name : {"model_rmse", "model_rmse_horizon", "value_bias"})
    EXPECT_TRUE(expected.contains(name)) << name;
  EXPECT_EQ(found.size(), expected.size());
  for (const auto& [name, value] : expected) {
    ASSERT_TRUE(found.contains(name)) << name;
    EXPECT_NEAR(found.at(name), value, 1e-3 * (1 + std::abs(value))) << name;
  }
}

}  // namespace
}  // namespace softmpc
