// SPDX-License-Identifier: Apache-2.0
// `softmpc bench plan --device cuda`: the same problems on a device.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bench/bench_problem.h"
#include "softmpc/cuda.h"

namespace softmpc::tools {

/// Adds times on the device's own clock, copies included. "device_latency_us": percentiles over
/// single replays of the recorded solve, each after another `timed.run`. "device_us": quartiles
/// over blocks of replays back to back, 100 a block or fewer where they would take longer than a
/// twentieth of `seconds`; rates are those of all blocks together.
void add_device_time(Json& result, const Timed& timed, Planner& planner, double seconds);
/// Adds which kernel ran, why, where kernels came from, and what it took to get them.
void add_diagnostics(Json& result, const Planner& planner, double create_seconds);

/// A device's planner with nets, inputs and results of one case. Inputs are several sets in turn,
/// so that no solve finds its own in a cache.
class DeviceProblem {
 public:
  DeviceProblem(const PlanCase& c, Precision precision, cuda::Path path,
                const std::shared_ptr<cuda::Device>& device);
  /// What is timed as the host sees it: new inputs to visible results.
  void solve();
  Timed timed();
  const std::string& reward_name() const { return reward_.name; }
  std::string device_name() const { return cuda::diagnostics(*planner_).device; }
  void check() const { check_status(case_, status_); }

  /// The free functions above, for this problem, and "agreement": S of rollouts beside those of the
  /// CPU in float32 with the same draws, differences in units of the temperature.
  void add_device_results(Json& result, double seconds);

 private:
  static constexpr int kSets = 8;

  Json agreement();

  PlanCase case_;
  BenchNets nets_;
  BenchReward reward_;
  double create_seconds_ = 0;
  std::unique_ptr<Planner> planner_;
  std::vector<float> observation_, plan_, action_;  // plan_: one for each set
  std::vector<double> soft_value_;
  std::vector<PlanStatus> status_;
  std::uint32_t solves_ = 0;
};

}  // namespace softmpc::tools
