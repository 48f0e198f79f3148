// SPDX-License-Identifier: Apache-2.0
// A bundle's task in steps of its simulator: a robot whose ticks need not be model steps.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "softmpc/bundle.h"
#include "softmpc/controller.h"
#include "softmpc/environment.h"
#include "softmpc/model.h"

namespace softmpc::tools {

struct FineTask {
  /// Loads the bundle at `path`. Throws Error where a policy acts, UsageError where a model step is
  /// one step of the simulator.
  explicit FineTask(const std::string& path);

  /// The bundle's controller, which takes any state for likely: its task goes on where it falls.
  Controller make_controller(ControllerOptions options) const;
  /// Time of a simulator step since the start.
  Nanoseconds at(std::int64_t step) const;
  /// Starts an episode.
  void reset(std::uint64_t seed);
  std::vector<float> observed() const { return {observation.begin(), observation.end()}; }
  /// One simulator step. Rewards add up to the task's: each is its share of a model step.
  Transition step(std::span<const float> action);

  Bundle bundle;
  int substeps = 1;         ///< of a model step
  std::vector<float> rest;  ///< [nu] what acts before the first command
  std::vector<double> observation;

 private:
  std::unique_ptr<RewardModel> reward_;
  std::unique_ptr<DynamicsModel> dynamics_;
  std::unique_ptr<Environment> environment_;
};

}  // namespace softmpc::tools
