// SPDX-License-Identifier: Apache-2.0
// The planning problems of `softmpc bench plan` and `scaling`: sizes, random nets, work.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bench/bench_timing.h"
#include "bench/bench_work.h"
#include "softmpc/network.h"
#include "softmpc/planner.h"

namespace softmpc::tools {

/// B, K, H and the sizes of the nets.
struct PlanCase {
  std::string name;
  int problems = 1, rollouts = 200, horizon = 4;
  int nx = 12, nu = 3, members = 4, width = 256, layers = 2;
};

/// Cases a to e.
const std::vector<PlanCase>& named_cases();
/// Throws UsageError that lists the names.
const PlanCase& named_case(const std::string& name);

/// Dynamics members and critic with PyTorch's default initialisation, from a fixed seed.
struct BenchNets {
  NetWeights members, critic;
};
BenchNets random_nets(const PlanCase& c);
/// Writes them as a bundle, for other programs. Throws Error.
void save_nets(const PlanCase& c, const std::string& path);

/// Of one solve.
Work solve_work(const PlanCase& c);

/// paper-gaussian's settings with the case's rollouts and horizon.
PlannerConfig bench_config(const PlanCase& c, Precision precision);
/// Box -1..1.
ProblemShape bench_shape(const PlanCase& c);
/// `sets` batches of start states [sets, B, nx], one after the other.
std::vector<float> bench_observations(const PlanCase& c, int sets);
/// Key of solve number `solve`.
SolveKey bench_key(std::uint32_t solve);

/// Hopper's reward where the sizes are Hopper's, else a quadratic one.
struct BenchReward {
  std::string name;
  std::unique_ptr<RewardModel> model;
};
BenchReward bench_reward(int nx, int nu);

/// Throws Error if a plan was not finite: such timings would mean nothing.
void check_status(const PlanCase& c, std::span<const PlanStatus> status);

/// A planner with nets, plans and results of one case; solve() is what is timed: for one problem
/// the tick of a controller (shift, then refine), for several one batch.
class PlanProblem {
 public:
  /// `precision` must be resolved; `pool` is borrowed.
  PlanProblem(const PlanCase& c, Precision precision, ThreadPool& pool);
  void solve();
  Timed timed();
  const std::string& reward_name() const { return reward_.name; }
  /// See check_status().
  void check() const { check_status(case_, status_); }

 private:
  PlanCase case_;
  BenchReward reward_;
  std::unique_ptr<MlpDynamics> dynamics_;
  std::unique_ptr<MlpValue> value_;
  std::unique_ptr<Planner> planner_;
  std::vector<float> observation_, plan_, action_;
  std::vector<double> soft_value_;
  std::vector<PlanStatus> status_;
  std::uint32_t solves_ = 0;
};

}  // namespace softmpc::tools
