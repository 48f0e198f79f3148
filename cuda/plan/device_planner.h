// SPDX-License-Identifier: Apache-2.0
// The planner of a device.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "runtime/device.h"
#include "softmpc/cuda.h"
#include "softmpc/network.h"
#include "softmpc/planner.h"

namespace softmpc::cuda {

/// Models as a device takes them. Weights are copied; `reward` is borrowed, null if learned.
/// Analytic `dynamics`, borrowed, take the place of members, and beside them an analytic `value`,
/// borrowed, may take that of critics; these and the reward then need device_rules(), and no policy
/// is evaluated.
struct DeviceModels {
  const NetWeights* members = nullptr;
  MemberOutputs outputs = {};
  const NetWeights* critics = nullptr;
  int critic = 0;  ///< which of the stack
  const NetWeights* policy = nullptr;
  const RewardModel* reward = nullptr;
  const DynamicsModel* dynamics = nullptr;
  const TerminalValue* value = nullptr;
};

/// Why a device refuses an analytic value beside members.
inline constexpr char kFormulaAsValue[] =
    "a device takes a formula as terminal value only with formulas as dynamics";

class DevicePlanner final : public Planner {
 public:
  /// Throws UsageError on a bad config or shape, Error on missing or non-finite networks, a model
  /// without device rules, sizes beyond the limits, or a device that refuses.
  DevicePlanner(const PlannerConfig& config, const ProblemShape& shape, const DeviceModels& models,
                DeviceOptions options = {}, std::shared_ptr<Device> device = nullptr);
  ~DevicePlanner() override;

  DeviceDiagnostics diagnostics() const;
  std::string device() const override { return "cuda (" + diagnostics().device + ")"; }

  void update(const Models& models) override;
  bool set_bounds(std::span<const float> low, std::span<const float> high) noexcept override;
  bool set_parameters(std::span<const float> parameters) noexcept override;
  /// Copies new weights of the same shapes, and new parameters (a map that changed) of the rules of
  /// those models that are given. With analytic dynamics any of them may be absent.
  void update(const DeviceModels& models);
  /// A trace makes a slower specialisation run that keeps what it asks for.
  void solve(SolveKey key, const PlanBatch& batch, PlanTrace* trace = nullptr) override;
  double device_seconds(int repeats);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace softmpc::cuda
