// SPDX-License-Identifier: Apache-2.0
// What learns and acts: networks, planners and replay of one run. It knows no episode, file or log.
// cpu_agent.h and device_agent.h implement it; draws, keys and order of work are the same.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "io/safetensors.h"
#include "learn/initialisation.h"
#include "normaliser.h"
#include "replay.h"
#include "softmpc/bundle.h"
#include "softmpc/config.h"
#include "softmpc/network.h"
#include "softmpc/task.h"
#include "softmpc/thread_pool.h"

namespace softmpc {

namespace cuda {
class Device;
}

/// Sums over updates, for the "train" lines.
struct UpdateSums {
  double critic_loss = 0, model_loss = 0, q = 0, target = 0;
  std::int64_t critic_updates = 0, model_updates = 0;
};

/// Updates to be made: `count` times the rounds of one environment step; each flag turns one off.
struct Updates {
  std::int64_t count = 0;
  bool critic = true, model = true;
  std::int64_t done = 0;  ///< rounds made so far
};

/// Environment steps that may run beside an update which does not need them. The result is that of
/// simulating and storing first.
struct Simulation {
  int environments = 0;
  std::function<void(int environment)> step;  ///< on any thread
  std::function<void()> store;                ///< after all steps: one transition each
};

class Agent {
 public:
  virtual ~Agent() = default;

  // acting, for config.trainer.envs environments side by side
  /// Draws the plan that an episode starts from.
  virtual void start_episode(int environment, std::uint32_t episode) = 0;
  /// Chooses actions [N, nu] for x [N, nx]; `step` keys the exploration noise. Throws Error if the
  /// planner finds no finite rollout: the networks have diverged.
  virtual std::span<const float> act(std::span<const float> x, std::int64_t step) = 0;
  virtual std::span<const double> values() const = 0;             ///< soft, of the last act() [N]
  virtual std::span<const double> effective_samples() const = 0;  ///< of its plans [N]

  // learning
  /// Stores a transition with the action and plan of the last act().
  virtual void store(int environment, std::span<const float> x, std::span<const float> next,
                     float reward, bool terminated) = 0;
  /// Makes the rounds of critic and model updates that are left, as the settings say. False if
  /// *stop (may be null) became true between two rounds: calling again goes on there.
  bool update(Updates& updates, UpdateSums& sums, const std::atomic<bool>* stop);
  /// The same after `simulation`, or beside it; the simulation itself is always whole.
  bool simulate_and_update(const Simulation& simulation, Updates& updates, UpdateSums& sums,
                           const std::atomic<bool>* stop);
  /// Steps all environments on all threads, then stores.
  void simulate(const Simulation& simulation);
  /// Waits for updates under way and adds what has not been counted.
  virtual void finish(UpdateSums& sums) { (void)sums; }

  const Replay& replay() const { return replay_; }
  Replay& replay() { return replay_; }

  virtual Bundle bundle() const = 0;
  /// Every tensor, counter and statistic that decides what follows, the replay apart, which is up
  /// to date afterwards.
  virtual void save(TensorFile& file) = 0;
  /// Throws Error where `file` lacks something or has it in another shape. The caller then restores
  /// the replay and calls replay_restored().
  virtual void load(const TensorFile& file) = 0;
  virtual void replay_restored() {}
  /// Gives `network` start values as of `seed`, and forgets its targets and its optimiser's
  /// moments; with the critics the policy likewise. What is stored stays, to be learned from.
  void learn_anew(Network network, std::uint64_t seed);

 protected:
  Agent(const Config& config, const Task& task, ThreadPool& pool);

  struct Round {
    bool critic, model;
  };
  /// One round on the drawn batches, with the steps of `beside` (may be null) at the same time.
  virtual void learn(Round round, const Simulation* beside, UpdateSums& sums) = 0;
  /// Whether the members learn; else a simulator takes their place.
  virtual bool learns_model() const { return true; }

  /// Replaces actions [N, nu] of the run's first trainer.random_steps steps by random ones.
  void randomise(std::int64_t step, std::span<float> actions) const;

  // running statistics of what is stored
  bool normalises() const;
  void count_transition(std::span<const float> x, std::span<const float> action,
                        std::span<const float> next, float reward);
  /// Fills the mean and std fields that the settings let follow the statistics; before the first
  /// draw nets know nothing of them, in a resumed run neither.
  void refresh_members(NetNormalisation& normalisation, MemberOutputs outputs) const;
  void refresh_critics(NetNormalisation& normalisation) const;
  void save_statistics(TensorFile& file) const;
  void load_statistics(const TensorFile& file);
  /// Task, sizes and settings; no networks.
  Bundle empty_bundle() const;
  /// What training saw, of the components that a net of the bundle looks at.
  void set_state_range(Bundle& bundle) const;

  Config config_;
  TaskSpec spec_;
  ThreadPool& pool_;
  std::unique_ptr<RewardModel> reward_;
  Replay replay_;
  std::uint32_t solves_ = 0;  // keys of solves
  std::uint64_t draws_ = 0;   // keys of replay samples
  ReplayBatch critic_batch_, model_batch_;

 private:
  Round round(int index, bool critic, bool model) const;
  void draw_batches(Round round, std::int64_t pending);
  bool draws_pending(Round round, std::int64_t pending) const;

  RunningStatistics input_statistics_, output_statistics_;  // of [x, a]; of [x' - x, r]
};

/// Which outputs the members learn beside the state change. Throws UsageError where the settings do
/// not fit the task.
MemberOutputs learned_outputs(const Config& config, const TaskSpec& spec);

/// The agent of config.trainer.device, cpu or cuda (on `device`; null: the first one);
/// `config.planner.precision` must be resolved.
std::unique_ptr<Agent> make_agent(const Config& config, const Task& task, ThreadPool& pool,
                                  std::shared_ptr<cuda::Device> device = nullptr);

}  // namespace softmpc
