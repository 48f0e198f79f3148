// SPDX-License-Identifier: Apache-2.0
// Environments side by side, each with its running episode.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "agent.h"
#include "softmpc/config.h"
#include "softmpc/environment.h"
#include "softmpc/task.h"
#include "softmpc/train/trainer.h"

namespace softmpc {

/// The seed of an episode's reset; `purpose` keeps training and playing apart.
std::uint64_t reset_seed(std::uint64_t seed, std::uint32_t episode, std::uint32_t purpose);

class Episodes {
 public:
  Episodes(const Config& config, const Task& task);

  int count() const { return static_cast<int>(running_.size()); }
  /// Starts an episode where the last one ended. Episodes are numbered in the order of starts.
  void begin(Agent& agent);
  /// Observations [N, nx] of all environments.
  std::span<const float> observations() const { return x_; }
  /// One step of environment e with its row of `actions`; may run beside other environments'.
  void step(int e, std::span<const float> actions);
  /// Stores the steps' transitions and reports finished episodes; environment e's step is number
  /// `step` + e + 1. Returns true if an episode ended.
  bool store(Agent& agent, std::int64_t step, TrainObserver& observer);
  /// Whether environment e's last step ended an episode.
  bool ended(int e) const { return running_[e].fresh; }

  void save(TensorFile& file) const;
  void load(const TensorFile& file);

 private:
  struct Running {
    std::unique_ptr<Environment> environment;
    std::vector<double> observation;
    Transition last;
    bool fresh = true;  // the next step starts an episode
    double episode_return = 0;
    std::int64_t length = 0;
  };
  std::span<float> row(std::vector<float>& rows, int e) const {
    return std::span(rows).subspan(e * nx_, nx_);
  }

  std::uint64_t seed_;
  std::size_t nx_ = 0, nu_ = 0;
  std::uint32_t episode_ = 0;  // started so far
  std::vector<Running> running_;
  std::vector<float> x_, next_;  // [N, nx]
};

}  // namespace softmpc
