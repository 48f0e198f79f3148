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
      seed_(config.trainer.seed),
      nu_(shape.nu),
      planner_(make_planner(target_planner(config), shape, models, {.pool = &pool})) {
  const std::size_t n = shape.max_problems;
  for (auto* v : {&start_, &plan_, &refined_}) v->resize(n * planner_->plan_size());
  for (auto* v : {&value_, &least_}) v->resize(n);
  status_.resize(n);
}

/// Start plans u+[1:] padded with 0, or fresh draws where there is no warm start.
void PlannerTargets::start_plans(const ReplayBatch& batch, std::uint32_t solve) {
  if (config_.warm_start) start_ = batch.plan;
  for (int i = 0; i < batch.size; ++i) {
    if (config_.warm_start)
      planner_->shift(plan_of(start_, i));
    else
      planner_->draw({seed_, solve}, static_cast<std::uint32_t>(i), plan_of(start_, i));
  }
}

void PlannerTargets::keep_least(int rows) {
  for (int i = 0; i < rows; ++i) {
    if (value_[i] >= least_[i]) continue;
    least_[i] = value_[i];
    std::ranges::copy(plan_of(plan_, i), plan_of(refined_, i).begin());
  }
}

/// u+[1:H+1] <- refined plan of x'; of several to one transition the last wins.
void PlannerTargets::write_back(const ReplayBatch& batch, Replay& replay) {
  for (int i = 0; i < batch.size; ++i) {
    const std::span<float> stored = plan_of(start_, i);  // no longer needed
    const std::span<float> refined = plan_of(refined_, i);
    std::copy_n(batch.plan.begin() + static_cast<std::ptrdiff_t>(i * stored.size()), nu_,
                stored.begin());
    std::copy(refined.begin(), refined.end() - static_cast<std::ptrdiff_t>(nu_),
              stored.begin() + static_cast<std::ptrdiff_t>(nu_));
    replay.set_plan(batch.slot[i], stored);
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
    y[i] = hd::critic_target(batch.reward[i], gamma_, least_[i], batch.terminated[i]);
  if (config_.warm_start) write_back(batch, replay);
}

}  // namespace softmpc
