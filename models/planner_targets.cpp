// SPDX-License-Identifier: Apache-2.0
#include "planner_targets.h"

#include <algorithm>
#include <limits>
#include <string>

#include "softmpc/error.h"
#include "softmpc/hd/losses.h"

namespace softmpc {
void check_plans(std::span<const PlanStatus> status) {
  for (PlanStatus s : status)
    if (s == PlanStatus::not_finite || s == PlanStatus::bad_state)
      throw Error("training diverged: a plan has status " + std::string(to_string(s)) +
                  "; a smaller learning rate or a larger planner.temperature may help");
}

PlannerTargets::PlannerTargets(const Config& config, const ProblemShape& shape,
                               const Models& models, ThreadPool& pool)
    : config_(config.targets),
      critics_(config.critic.count),
      gamma_(config.planner.gamma),
      end_cost_(static_cast<float>(config.planner.termination_cost)),
      seed_(config.trainer.seed),
      nu_(shape.nu),
      planner_(make_planner(target_planner(config), shape, models, {.pool = &pool})) {
  const std::size_t n = shape.max_problems;
  for (auto* v : {&start_, &plan_, &refined_}) v->resize(n * planner_->plan_size());
  for (auto* v : {&value_, &least_}) v->resize(n);
  status_.resize(n);
}

/// Start plans u+[1:], padded with 0 or cut to the targets' horizon; fresh draws where there is no
/// warm start.
void PlannerTargets::start_plans(const ReplayBatch& batch, std::uint32_t solve) {
  const std::size_t stored = batch.plan.size() / batch.size;
  for (int i = 0; i < batch.size; ++i) {
    const std::span<float> start = plan_of(start_, i);
    if (!config_.warm_start) {
      planner_->draw({seed_, solve}, static_cast<std::uint32_t>(i), start);
      continue;
    }
    const auto rest = std::span(batch.plan).subspan(i * stored + nu_, stored - nu_);
    const std::size_t taken = std::min(rest.size(), start.size());
    std::ranges::copy(rest.first(taken), start.begin());
    std::ranges::fill(start.subspan(taken), 0.0f);
  }
}

void PlannerTargets::keep_least(int rows) {
  for (int i = 0; i < rows; ++i) {
    if (value_[i] >= least_[i]) continue;
    least_[i] = value_[i];
    std::ranges::copy(plan_of(plan_, i), plan_of(refined_, i).begin());
  }
}

/// u+[1:] <- refined plan of x', as far as either goes; of several to one transition the last wins.
void PlannerTargets::write_back(const ReplayBatch& batch, Replay& replay) {
  const std::size_t size = batch.plan.size() / batch.size;
  for (int i = 0; i < batch.size; ++i) {
    const auto before = std::span(batch.plan).subspan(i * size, size);
    stored_.assign(before.begin(), before.end());
    const std::span<float> refined = plan_of(refined_, i);
    std::ranges::copy(refined.first(std::min(refined.size(), size - nu_)),
                      stored_.begin() + static_cast<std::ptrdiff_t>(nu_));
    replay.set_plan(batch.slot[i], stored_);
  }
}

void PlannerTargets::compute(const ReplayBatch& batch,
                             const std::function<Models(int critic)>& models, std::uint32_t& solves,
                             Replay& replay, std::span<float> y) {
  start_plans(batch, solves);
  std::ranges::fill(least_, std::numeric_limits<double>::infinity());
  for (int c = 0; c < critics_; ++c) {
    plan_ = start_;
    PlanBatch problem;
    problem.problems = batch.size;
    problem.observation = batch.next;
    problem.plan = plan_;
    problem.value = value_;
    problem.status = status_;
    planner_->update(models(c));
    planner_->solve({seed_, solves++}, problem);
    check_plans(status_);
    keep_least(batch.size);
  }
  for (int i = 0; i < batch.size; ++i)
    y[i] = hd::critic_target(batch.reward[i], gamma_, least_[i], batch.terminated[i], end_cost_);
  if (config_.warm_start) write_back(batch, replay);
}

}  // namespace softmpc
