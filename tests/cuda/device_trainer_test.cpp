// SPDX-License-Identifier: Apache-2.0
// Tests for cuda/device_trainer.cpp: whole training steps on the device against the learners and
// planners of the CPU; bits under every order of threads; state out and in again.
#include "train/device_trainer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "cpu_trainer.h"
#include "runtime/device.h"
#include "softmpc/error.h"
#include "softmpc/hd/replay.h"

namespace softmpc::cuda {
namespace {

using testing::CpuTrainer;
using testing::Experiment;
using testing::simulate;
using testing::Simulated;
using testing::test_device;

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
      {"targets.horizon=2", "targets.temperature=0.2", "critic.count=2"},
      {"targets.horizon=1", "targets.warm_start=false"},
      {"model.loss=gaussian_nll", "model.reward=always", "planner.handle_terminations=true",
       "model.termination=always"},
      {"planner.covariance=[[0.1,0.06],[0.06,0.08]]", "targets.warm_start=false"},
      {"planner.covariance=[[0.05,-0.03],[-0.03,0.04]]", "planner.prior=uniform"},
      {"trainer.replay_capacity=9", "trainer.envs=2", "planner.control_mode=mean_residual",
       "planner.handle_terminations=true", "planner.termination_cost=5"},
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
       "policy.update_interval=1", "critic.imagined_steps=3", "planner.handle_terminations=true",
       "planner.termination_cost=2"},
      {"planner.proposals=plan_and_policy", "policy.objective=rollout", "policy.width=16",
       "policy.update_interval=1", "critic.imagined_steps=1", "targets.horizon=2",
       "targets.temperature=1.5"},
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
