// SPDX-License-Identifier: Apache-2.0
// The gradient steps of a policy on the device, as models/learn/policy_learner.h.
#pragma once

#include <memory>

#include "plan/net.h"
#include "softmpc/config.h"
#include "train/device_trainer.h"
#include "train/policy_rollout_memory.h"
#include "train/train_net.h"

namespace softmpc::cuda {

/// What the gradient goes through, each with the constants of the batches.
struct PolicyGradientNets {
  FlatNet policy, members, critic, target;
  int stack, critics;  ///< of members, of critics and targets
};

class PolicyTrainer {
 public:
  /// `policy` and `target` outlive it, and `task.reward`.
  PolicyTrainer(Device& device, const Config& config, const TrainTask& task, DeviceStack& policy,
                DeviceStack& target, const PolicyGradientNets& nets);

  /// Whether the critics' step number `critic_step` is followed by one of the policy.
  bool steps_after(std::int64_t critic_step) const { return critic_step % interval_ == 0; }
  double rate() const { return rate_; }
  /// Whether the critics learn from the rollouts too: imagine() goes before their step then.
  bool imagines() const { return job_.imagined.steps > 0; }
  /// Has imagine() write to the columns of `batch` behind its rows, and `batch` learn from them.
  void feed(TrainNet& batch);
  void imagine(const TrainCounters* counters) { launch(*imagine_, counters); }
  float* state() const { return state_->as<float>(); }  ///< [N, nx] of the batch, to be written
  TrainNet& net() { return net_; }
  const TrainNet& net() const { return net_; }
  /// Leaves inputs and gradient for a step of net(). `counters` are those before the critics' step,
  /// here and in imagine().
  void differentiate(const TrainCounters* counters) { launch(*gradient_, counters); }

 private:
  void load_kernels(const TrainTask& task);
  void launch(const Kernel& kernel, const TrainCounters* counters);

  Device& device_;
  int interval_;
  double rate_;
  PolicyRolloutMemory memory_;
  TrainNet net_;
  std::unique_ptr<Memory> state_;
  std::shared_ptr<Kernel> imagine_, gradient_;  // the first where imagines()
  PolicyGradientJob job_{};
};

}  // namespace softmpc::cuda
