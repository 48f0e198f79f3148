// SPDX-License-Identifier: Apache-2.0
// Critic targets from planners with the target critics: batched, warm-started from the stored plans
// and written back (the amortised warm start of arXiv 2604.01477).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "replay.h"
#include "softmpc/config.h"
#include "softmpc/planner.h"

namespace softmpc {

/// Throws Error if a plan found no finite rollout: the networks have diverged.
void check_plans(std::span<const PlanStatus> status);

class PlannerTargets {
 public:
  /// `models` as for make_planner; compute() gives those that plan.
  PlannerTargets(const Config& config, const ProblemShape& shape, const Models& models,
                 ThreadPool& pool);

  /// y [N] = r - terminated c + gamma (1 - terminated) min over critics V(x'). `models(c)` are
  /// those with target critic c, `solves` the counter of solve keys. The plan of the least value
  /// goes back to the replay where there is a warm start.
  void compute(const ReplayBatch& batch, const std::function<Models(int critic)>& models,
               std::uint32_t& solves, Replay& replay, std::span<float> y);

 private:
  void start_plans(const ReplayBatch& batch, std::uint32_t solve);
  void keep_least(int rows);
  void write_back(const ReplayBatch& batch, Replay& replay);
  std::span<float> plan_of(std::vector<float>& plans, int row) const {
    return std::span(plans).subspan(static_cast<std::size_t>(row) * planner_->plan_size(),
                                    planner_->plan_size());
  }

  TargetsConfig config_;
  int critics_;
  double gamma_;
  float end_cost_;
  std::uint64_t seed_;
  std::size_t nu_;
  std::unique_ptr<Planner> planner_;
  std::vector<float> start_, plan_, refined_;  // [N, H+1, nu], H of the targets
  std::vector<float> stored_;                  // one plan of the replay
  std::vector<double> value_, least_;          // [N]
  std::vector<PlanStatus> status_;
};

}  // namespace softmpc
