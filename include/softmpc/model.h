// SPDX-License-Identifier: Apache-2.0
// What a planner looks ahead with: dynamics, reward, terminal value and, where used, a policy.
// Networks (network.h) implement these; so does anything a user writes. Every call gets a block of
// lanes (rollouts) as columns and is one virtual call for the whole block. Calls come from several
// threads at once and must not change the object.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "softmpc/types.h"

namespace softmpc {

struct NetWeights;  // net.h

/// Results of one model step for `count` lanes.
struct StepResult {
  Columns next;              ///< [nx, count] next observation
  float* reward;             ///< [count]; null unless the model predicts the reward
  std::uint8_t* terminated;  ///< [count]; null unless the model predicts termination
};

/// A model as CUDA C++, compiled into a device's kernels at load.
struct DeviceRules {
  /// A type with static host-device members, x, a and next being indexable. Of a RewardModel:
  ///   float reward(x, a, next);   constexpr bool has_termination;   bool terminated(next);
  /// of a DynamicsModel, which has one member then and predicts nothing but x':
  ///   void step(x, a, next);      sets next[0..nx-1]
  /// of a TerminalValue:
  ///   float value(x, a);
  /// Or one that is constructed from `const float*`, the parameters, with const members. "softmpc::
  /// tasks::Hopper<true>" for one; empty: there are none, a device cannot plan with this model.
  std::string type;
  std::string source;  ///< text that defines the type; may include "softmpc/hd/...". Models that
                       ///< share a text have it compiled once
  std::vector<float> parameters;  ///< copied to the device
};

/// x' = x + f_m(x, a), m = 0..members-1. arXiv 2604.01477.
class DynamicsModel {
 public:
  virtual ~DynamicsModel() = default;
  virtual int members() const = 0;
  /// Bytes of scratch that step() needs for up to `count` lanes (64-byte aligned).
  virtual std::size_t scratch_bytes(int count) const = 0;
  /// True where step() fills `reward` / `terminated` itself (a learned reward or termination).
  virtual bool predicts_reward() const { return false; }
  virtual bool predicts_termination() const { return false; }
  virtual void step(int member, ConstColumns x, ConstColumns a, int count, const StepResult& out,
                    void* scratch) const = 0;
  /// The same where the lanes of a run share their state, as in a rollout's first step: what
  /// depends on the state alone needs computing once a run. `runs` cover all lanes.
  virtual void first_step(int member, std::span<const LaneRun> runs, ConstColumns x, ConstColumns a,
                          int count, const StepResult& out, void* scratch) const {
    (void)runs;
    step(member, x, a, count, out, scratch);
  }
  /// The same formula for a CUDA device.
  virtual DeviceRules device_rules() const { return {}; }
  /// Of a network: copies its weights for a device and returns true.
  virtual bool read_network(NetWeights& weights) const {
    (void)weights;
    return false;
  }
};

/// What is known of the task: r(x, a, x') and whether x' ends the episode.
class RewardModel {
 public:
  virtual ~RewardModel() = default;
  /// out[j] = r(x_j, a_j, x'_j), to be maximised.
  virtual void reward(ConstColumns x, ConstColumns a, ConstColumns next, int count,
                      float* out) const = 0;
  virtual bool has_termination() const { return false; }
  /// out[j] = 1 if x'_j ends the episode. Called only where has_termination().
  virtual void terminated(ConstColumns next, int count, std::uint8_t* out) const {
    (void)next;
    for (int j = 0; j < count; ++j) out[j] = 0;
  }
  /// How many numbers (a goal, a speed limit) a planner may give in place of the model's own; 0: it
  /// takes none. For a device device_rules() has as many.
  virtual int parameter_count() const { return 0; }
  /// reward() and terminated() with `parameters` [parameter_count()] in place of the model's own.
  virtual void reward_with(std::span<const float> parameters, ConstColumns x, ConstColumns a,
                           ConstColumns next, int count, float* out) const {
    (void)parameters;
    reward(x, a, next, count, out);
  }
  virtual void terminated_with(std::span<const float> parameters, ConstColumns next, int count,
                               std::uint8_t* out) const {
    (void)parameters;
    terminated(next, count, out);
  }
  /// The same rules for a CUDA device.
  virtual DeviceRules device_rules() const { return {}; }
};

/// Terminal soft Q-function Q(x_H, a_H).
class TerminalValue {
 public:
  virtual ~TerminalValue() = default;
  virtual std::size_t scratch_bytes(int count) const = 0;
  virtual void evaluate(ConstColumns x, ConstColumns a, int count, float* out,
                        void* scratch) const = 0;
  /// The same formula for a CUDA device.
  virtual DeviceRules device_rules() const { return {}; }
  /// Of a network: copies its weights for a device and returns true.
  virtual bool read_network(NetWeights& weights) const {
    (void)weights;
    return false;
  }
};

/// Deterministic policy mu(x), inside the action box.
class Policy {
 public:
  virtual ~Policy() = default;
  virtual std::size_t scratch_bytes(int count) const = 0;
  virtual void evaluate(ConstColumns x, int count, Columns action, void* scratch) const = 0;
  /// Of a network: copies its weights for a device and returns true.
  virtual bool read_network(NetWeights& weights) const {
    (void)weights;
    return false;
  }
};

/// Borrowed parts of one planning problem; all but `policy` are required (`reward` may be null if
/// the dynamics predict it).
struct Models {
  const DynamicsModel* dynamics = nullptr;
  const RewardModel* reward = nullptr;
  const TerminalValue* value = nullptr;
  const Policy* policy = nullptr;
};

}  // namespace softmpc
