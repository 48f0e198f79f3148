// SPDX-License-Identifier: Apache-2.0
// What a DeviceTrainer owns. Its launches are in device_trainer.cpp, its state in
// device_trainer_state.cpp.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/train_job.h"
#include "plan/net.h"
#include "runtime/device.h"
#include "train/device_trainer.h"
#include "train/policy_trainer.h"
#include "train/proposing_solver.h"
#include "train/train_net.h"

namespace softmpc::cuda {

/// What act() uploads, one array behind the other so that one copy brings all of them.
struct ActInput {
  std::size_t row, x, from, next, action, bytes;  // slots first
  ActInput(int environments, int nx, int nu) {
    const std::size_t n = environments;
    row = sizeof(std::int64_t);
    x = row + n * sizeof(ActRow);
    from = x + n * nx * sizeof(float);
    next = from + n * nx * sizeof(float);
    action = next + n * nx * sizeof(float);
    bytes = action + n * nu * sizeof(float);
  }
};
/// What it downloads.
struct ActOutput {
  std::size_t sums, action, bytes;  // results first
  ActOutput(int environments, int nu) {
    const std::size_t n = environments;
    sums = n * sizeof(ProblemResult);
    action = sums + sizeof(TrainSums);
    bytes = action + n * nu * sizeof(float);
  }
};

template <class T>
T* at(const Memory& memory, std::size_t offset) {
  return reinterpret_cast<T*>(memory.as<char>() + offset);
}

/// Mean and std of a net's inputs and outputs, for batches.
struct NormArrays {
  std::unique_ptr<Memory> memory;
  int in, out;
  NormArrays(Device& device, const NetSpec& spec);
  void upload(Device& device, const NetNormalisation& normalisation);
  TrainNorm view() const;
  /// `net` with these constants in place of its own; a policy has those of the critics' states.
  FlatNet apply(FlatNet net) const;
};

struct DeviceTrainer::Impl {
  Impl(const Config& config, const TrainTask& task, const TrainWeights& start,
       std::shared_ptr<Device> device);

  struct RoundKind {
    bool critic, model, moves, policy;
    auto operator<=>(const RoundKind&) const = default;
  };

  void set_losses();
  void make_policy(const NetWeights& start);
  bool imagines() const { return policy_trainer && policy_trainer->imagines(); }
  void make_solvers();
  std::optional<FlatNet> proposing_net() const;
  void load_kernels();
  void allocate_batches();
  PlanNoise plan_noise() const;
  ActJob act_job(bool acts) const;
  SampleJob sample_job(RoundKind kind) const;
  FinishJob finish_job(RoundKind kind) const;
  void launch_act(const Memory& host, bool acts);
  void launch_round(RoundKind kind);
  void launch_warps(const Kernel& kernel, int warps, const void* job, std::size_t bytes);
  void launch_steps(RoundKind kind);
  const Graph& round_graph(RoundKind kind);
  RoundKind next_round(bool critic, bool model) const;
  ActRow& row(int environment) const;
  void flush();
  void wait();
  void hand_out();
  void add(const TrainSums& sums);
  void write_counters();
  std::vector<float> read(const float* from, std::size_t count) const;
  void write(float* to, std::span<const float> values);

  std::shared_ptr<Device> device;
  Config config;
  TrainTask task;
  int environments, rows;  // N, batch of the critics
  int plan, target_plan;   // floats of a stored plan, and of a target's
  std::int64_t slots;      // that there is memory for
  ProblemShape shape;

  DeviceStack members, critics, targets;
  std::optional<DeviceStack> policy, policy_target;
  TrainNet member_net, critic_net;
  NormArrays member_norm, critic_norm;
  TrainStep step;
  std::unique_ptr<PolicyTrainer> policy_trainer;  // null without a policy
  std::unique_ptr<ProposingSolver> online, target_solver;
  std::shared_ptr<Kernel> act_kernel, sample_kernel, finish_kernel;

  std::unique_ptr<Memory> records, plans, counters, sums, sigma, factor;
  // acting
  std::unique_ptr<Memory> stage, flushed;  // host: for act(), for flush()
  std::unique_ptr<Memory> input, output, host_output;
  std::unique_ptr<Memory> observation, start, refined, header;
  // a round
  std::unique_ptr<Memory> slot, reward, critic_end, next, target_start, target_refined,
      target_results, target_header, target_action, goal, model_end;
  std::unique_ptr<Graph> act_graph, flush_graph;
  std::map<RoundKind, std::unique_ptr<Graph>> rounds;

  std::vector<float> action;
  std::vector<double> value, samples;
  std::vector<PlanStatus> status;

  // as on the device
  std::int64_t added = 0, model_steps = 0, critic_steps = 0, policy_steps = 0;
  std::uint64_t draws = 0;
  std::uint32_t solves = 0;
  int staged = 0;         // transitions that wait for the next act() or flush()
  bool flushing = false;  // since the last wait: `flushed` may still be read
  DeviceSums arrived;
};

}  // namespace softmpc::cuda
