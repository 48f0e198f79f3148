// SPDX-License-Identifier: Apache-2.0
// Training that stays on the device: replay, ensemble, critics, both planners, gradient steps. The
// host brings observations and takes actions; it steps simulators while the device updates. Draws
// and keys are those of the trainer on the CPU: same slots, same solves, same members.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "softmpc/config.h"
#include "softmpc/network.h"
#include "softmpc/planner.h"

namespace softmpc::cuda {

class Device;

/// What is trained for: sizes and bounds, what the members learn beside the state change, the rules
/// of reward and termination (borrowed; null if learned).
struct TrainTask {
  int nx = 0, nu = 0;
  std::vector<float> action_low, action_high;
  MemberOutputs outputs = {};
  const RewardModel* reward = nullptr;
};

/// The networks; `policy` has none where planner.proposals needs none.
struct TrainWeights {
  NetWeights members, critics, policy;
};

/// Sums over updates.
struct DeviceSums {
  double critic_loss = 0, model_loss = 0, q = 0, target = 0;
  std::int64_t critic_updates = 0, model_updates = 0;
  PlanStatus worst = PlanStatus::ok;  ///< of the target plans
};

/// One stack: [E, parameters] each, of a member layer by layer weight [out, in], bias [out].
struct StackState {
  std::vector<float> parameters, mean, variance;  // the last two: Adam's moments
};

/// Everything that decides what follows, the replay apart.
struct DeviceTrainerState {
  StackState members, critics, policy;
  std::vector<float> targets, policy_target;  ///< parameters
  std::vector<float> plan;                    ///< [N, H+1, nu] after the last act()
  std::int64_t model_steps = 0, critic_steps = 0, policy_steps = 0, added = 0;
  std::uint64_t draws = 0;
  std::uint32_t solves = 0;
};

/// Why the device cannot train with these settings, in one sentence; empty if it can.
std::string unsupported(const Config& config);

/// Calls return without waiting for the device but for those that say so.
class DeviceTrainer {
 public:
  /// `config.planner.precision` must be resolved; `start` are the weights of targets too. Throws
  /// UsageError with the sentence of unsupported().
  DeviceTrainer(const Config& config, const TrainTask& task, const TrainWeights& start,
                std::shared_ptr<Device> device = nullptr);
  ~DeviceTrainer();

  // acting, for config.trainer.envs environments
  /// The next act() starts this episode's plan.
  void start_episode(int environment, std::uint32_t episode);
  /// Stores what arrived, shifts the plans and solves for x [N, nx]. Waits for the actions.
  void act(std::span<const float> x);
  std::span<const float> action() const;              ///< [N, nu] of the last act()
  std::span<const double> value() const;              ///< [N]
  std::span<const double> effective_samples() const;  ///< [N]
  std::span<const PlanStatus> status() const;         ///< [N]

  // learning
  /// A transition under `action`, with the plan of the last act(); one for each environment and
  /// act().
  void store(int environment, std::span<const float> x, std::span<const float> action,
             std::span<const float> next, float reward, bool terminated);
  /// One round on batches that the device draws; the draw counts the transitions that the last
  /// act() leads to as there. A draw that takes one of them must come behind its store().
  void update(bool critic, bool model);
  /// Sums of updates that are known to have ended and have not been handed out.
  DeviceSums take_sums();
  /// The same after waiting for all updates.
  DeviceSums finish();

  // normalisation of inputs and outputs: the host's statistics, so far
  /// Mean and std fields that the next updates' batches are normalised with. Waits.
  void set_batch_normalisation(const NetNormalisation& members, const NetNormalisation& critics);
  /// Those that the planners' networks have; a policy takes the critics' for its states. Waits.
  void set_net_normalisation(const NetNormalisation& members, const NetNormalisation& critics);

  // counters, as the host knows them
  std::int64_t added() const;
  std::uint64_t draws() const;
  std::uint32_t solves() const;

  // state; all wait
  /// The parameters alone, into weights of the same shape.
  void read_weights(TrainWeights& weights) const;
  DeviceTrainerState read_state() const;
  /// Throws Error if a size does not fit. The replay's contents follow by write_replay().
  void write_state(const DeviceTrainerState& state);
  /// Stored form of neighbouring slots from `first` on: [x, a, next, reward, terminated] and plans.
  void write_replay(std::int64_t first, std::span<const float> records,
                    std::span<const float> plans);
  void read_replay(std::int64_t first, std::span<float> records, std::span<float> plans) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace softmpc::cuda
