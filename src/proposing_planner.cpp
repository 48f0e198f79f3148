// SPDX-License-Identifier: Apache-2.0
#include "proposing_planner.h"

#include <algorithm>
#include <functional>
#include <vector>

#include "cpu/aligned.h"
#include "cpu/kernels.h"
#include "planner_inputs.h"
#include "recent_slowest.h"
#include "softmpc/error.h"
#include "softmpc/hd/philox.h"
#include "softmpc/hd/prior.h"
#include "softmpc/thread_pool.h"

namespace softmpc {
namespace {

constexpr int kBlock = 4 * cpu::kLanes;  // problems that one worker takes through the models

/// One worker's states, actions and results of a model step.
struct Lanes {
  cpu::AlignedFloats x, next, action, reward;
  cpu::AlignedBytes scratch;
  std::vector<std::uint8_t> terminated;
};

Models without_policy(Models models) {
  models.policy = nullptr;
  return models;
}

class ProposingPlanner final : public Planner {
 public:
  ProposingPlanner(const PlannerConfig& config, const ProblemShape& shape, const Models& models,
                   const PlannerOptions& options);
  void update(const Models& models) override;
  bool set_bounds(std::span<const float> low, std::span<const float> high) noexcept override {
    return Planner::set_bounds(low, high) && halves_->set_bounds(low, high);
  }
  bool set_parameters(std::span<const float> parameters) noexcept override {
    return halves_->set_parameters(parameters);
  }
  void solve(SolveKey key, const PlanBatch& batch, PlanTrace* trace) override;
  std::string device() const override { return halves_->device(); }
  const Planner& solver() const override { return halves_->solver(); }

 private:
  void propose(SolveKey key, int problems, int begin, int end, Lanes& lanes);
  void propose_all(SolveKey key, int problems);
  SolveBudget budget_of_halves(const SolveBudget& budget) const;
  PlanBatch halves_of(const PlanBatch& batch);
  void merge(const PlanBatch& batch, int problem);
  std::span<float> plan_of(int problem) {
    return std::span(plan_).subspan(problem * plan_size(), plan_size());
  }

  std::unique_ptr<Planner> halves_;
  Models models_;
  ThreadPool* pool_;
  std::vector<float> neutral_;  // n [nu]
  std::vector<Lanes> lanes_;    // per worker
  RecentSlowest merges_;        // under deadlines
  // of the 2B problems: B about the plan so far, then B about the policy's
  std::vector<float> observation_, plan_;
  std::vector<std::uint32_t> id_;
  std::vector<double> value_, samples_, valid_;
  std::vector<PlanStatus> status_;
};

ProposingPlanner::ProposingPlanner(const PlannerConfig& config, const ProblemShape& shape,
                                   const Models& models, const PlannerOptions& options)
    : Planner(config, shape),
      halves_(make_planner(part_of_solve(config), parts_of_problems(shape), without_policy(models),
                           options)),
      pool_(options.pool),
      neutral_(neutral_action(config, shape)),
      lanes_(pool_ ? pool_->threads() : 1) {
  const std::size_t problems = halves_->shape().max_problems;
  observation_.resize(problems * shape.nx);
  plan_.resize(problems * plan_size());
  id_.resize(problems);
  for (auto* v : {&value_, &samples_, &valid_}) v->resize(problems);
  status_.resize(problems);
  for (Lanes& l : lanes_) {
    for (auto* x : {&l.x, &l.next}) x->resize(static_cast<std::size_t>(shape.nx) * kBlock);
    l.action.resize(static_cast<std::size_t>(shape.nu) * kBlock);
    l.reward.resize(kBlock);
    l.terminated.resize(kBlock);
  }
  update(models);
}

void ProposingPlanner::update(const Models& models) {
  if (!models.policy) throw Error("planner solve: " + policy_use(config()) + " needs a policy");
  halves_->update(without_policy(models));
  models_ = models;
  const std::size_t bytes =
      std::max(models.policy->scratch_bytes(kBlock), models.dynamics->scratch_bytes(kBlock));
  for (Lanes& l : lanes_)
    if (l.scratch.size() < bytes) l.scratch.resize(bytes);
}

/// u_t = clip(mu(x_t)) - n of problems [begin, end), x_t rolled out by the members that the first
/// iteration draws for a whole step.
void ProposingPlanner::propose(SolveKey key, int problems, int begin, int end, Lanes& l) {
  const int nx = shape().nx, nu = shape().nu, count = end - begin;
  const DynamicsModel& dynamics = *models_.dynamics;
  for (int j = 0; j < count; ++j)
    for (int i = 0; i < nx; ++i)
      l.x[static_cast<std::size_t>(i) * kBlock + j] =
          observation_[static_cast<std::size_t>(begin + j) * nx + i];
  for (int t = 0; t <= config().horizon; ++t) {
    models_.policy->evaluate({l.x.data(), kBlock}, count, {l.action.data(), kBlock},
                             l.scratch.data());
    for (int j = 0; j < count; ++j)
      for (int i = 0; i < nu; ++i) {
        float& a = l.action[static_cast<std::size_t>(i) * kBlock + j];
        a = hd::clip(a, constants().low[i], constants().high[i]);
        plan_of(problems + begin + j)[static_cast<std::size_t>(t) * nu + i] = a - neutral_[i];
      }
    if (t == config().horizon) break;
    const int member = hd::draw_member(key.seed, key.solve, 0, t, dynamics.members());
    dynamics.step(member, {l.x.data(), kBlock}, {l.action.data(), kBlock}, count,
                  {{l.next.data(), kBlock},
                   dynamics.predicts_reward() ? l.reward.data() : nullptr,
                   dynamics.predicts_termination() ? l.terminated.data() : nullptr},
                  l.scratch.data());
    std::swap(l.x, l.next);
  }
}

void ProposingPlanner::merge(const PlanBatch& batch, int b) {
  const int other = batch.problems + b, nu = shape().nu;
  // whatever its status: that of a half which was cut short is deadline
  const auto invalid = [this](int i) { return valid_[i] == 0; };
  const hd::Merged m = hd::merge_solves({value_[b], value_[other]}, {samples_[b], samples_[other]},
                                        {invalid(b), invalid(other)}, config().temperature);
  const std::span<float> plan = batch.plan.subspan(b * plan_size(), plan_size());
  const std::span<const float> about_plan = plan_of(b), about_policy = plan_of(other);
  if (m.weight[0] + m.weight[1] > 0)
    for (std::size_t i = 0; i < plan.size(); ++i)
      plan[i] = hd::merged_plan(m, about_plan[i], about_policy[i]);
  batch.value[b] = m.value;
  if (!batch.effective_samples.empty()) batch.effective_samples[b] = m.effective_samples;
  if (!batch.valid_share.empty()) batch.valid_share[b] = 0.5 * (valid_[b] + valid_[other]);
  if (!batch.status.empty())
    batch.status[b] = m.weight[1] > m.weight[0] ? status_[other] : status_[b];
  if (!batch.action.empty())
    for (int i = 0; i < nu; ++i)
      batch.action[static_cast<std::size_t>(b) * nu + i] =
          hd::clip(neutral_[i] + plan[i], constants().low[i], constants().high[i]);
}

void ProposingPlanner::propose_all(SolveKey key, int problems) {
  const auto propose_block = [&](int block, int worker) {
    const int begin = block * kBlock;
    propose(key, problems, begin, std::min(problems, begin + kBlock), lanes_[worker]);
  };
  const int blocks = (problems + kBlock - 1) / kBlock;
  if (pool_ && blocks > 1)
    pool_->run(blocks, std::cref(propose_block));  // a reference: no allocation
  else
    for (int block = 0; block < blocks; ++block) propose_block(block, 0);
}

/// Numbers of rollouts are those of both halves; of the time, merging takes some.
SolveBudget ProposingPlanner::budget_of_halves(const SolveBudget& budget) const {
  SolveBudget half = budget;
  half.min_rollouts = (budget.min_rollouts + 1) / 2;
  half.rollouts = budget.rollouts / 2;
  half.deadline = earlier(budget.deadline, merges_.slowest());
  return half;
}

/// Copies the inputs of the batch, all but the policy's plans, for both halves.
PlanBatch ProposingPlanner::halves_of(const PlanBatch& batch) {
  const int problems = batch.problems;
  const std::size_t states = batch.observation.size(), plans = batch.plan.size();
  for (const std::size_t at : {std::size_t{0}, states})
    std::ranges::copy(batch.observation, observation_.begin() + static_cast<std::ptrdiff_t>(at));
  std::ranges::copy(batch.plan, plan_.begin());
  for (int b = 0; b < problems; ++b) {
    const std::uint32_t id = batch.problem_id.empty() ? b : batch.problem_id[b];
    id_[b] = 2 * id;
    id_[problems + b] = 2 * id + 1;
  }
  PlanBatch halves;
  halves.problems = 2 * problems;
  halves.observation = std::span(observation_).first(2 * states);
  halves.problem_id = std::span(id_).first(2 * problems);
  halves.plan = std::span(plan_).first(2 * plans);
  halves.value = std::span(value_).first(2 * problems);
  halves.effective_samples = std::span(samples_).first(2 * problems);
  halves.valid_share = std::span(valid_).first(2 * problems);
  halves.status = std::span(status_).first(2 * problems);
  halves.budget = budget_of_halves(batch.budget);
  return halves;
}

void ProposingPlanner::solve(SolveKey key, const PlanBatch& batch, PlanTrace* trace) {
  using Clock = SolveBudget::Clock;
  check_batch(config(), shape(), batch);
  PlanBatch halves = halves_of(batch);
  SolveDone done;
  halves.done = &done;
  const bool timed = has_deadline(batch.budget);
  if (!timed || Clock::now() < batch.budget.deadline) propose_all(key, batch.problems);
  halves_->solve(key, halves, trace);
  const Clock::time_point solved = timed ? Clock::now() : Clock::time_point{};
  for (int b = 0; b < batch.problems; ++b) merge(batch, b);
  if (timed) merges_.add(Clock::now() - solved);
  if (batch.done) *batch.done = {done.iterations, 2 * done.rollouts};
}

}  // namespace

PlannerConfig part_of_solve(PlannerConfig config) {
  config.proposals = Proposals::plan;
  config.rollouts /= 2;
  return config;
}

ProblemShape parts_of_problems(ProblemShape shape) {
  shape.max_problems *= 2;
  return shape;
}

std::unique_ptr<Planner> make_proposing_planner(const PlannerConfig& config,
                                                const ProblemShape& shape, const Models& models,
                                                const PlannerOptions& options) {
  return std::make_unique<ProposingPlanner>(config, shape, models, options);
}

}  // namespace softmpc
