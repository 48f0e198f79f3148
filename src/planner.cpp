// SPDX-License-Identifier: Apache-2.0
// Checks, member draws, tiling and the order of a solve; the arithmetic is in cpu/ and hd/.
#include "softmpc/planner.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "backend.h"
#include "cpu/kernels.h"
#include "cpu/rollout.h"
#include "cpu/tile_clock.h"
#include "cpu/tiling.h"
#include "cpu/update.h"
#include "finite.h"
#include "hardware.h"
#include "planner_inputs.h"
#include "proposing_planner.h"
#include "softmpc/error.h"
#include "softmpc/hd/philox.h"
#include "softmpc/hd/prior.h"
#include "softmpc/thread_pool.h"

namespace softmpc {
namespace {

/// Blocks of a wide tile: three registers for the dense kernels. Grouped by member, the lanes of
/// one member still fill registers.
int wide_blocks(bool grouped) { return grouped ? 12 : 3; }

/// The planner on the CPU: tiles of rollouts on a thread pool.
class CpuPlanner final : public Planner {
 public:
  CpuPlanner(const PlannerConfig& config, const ProblemShape& shape, const Models& models,
             ThreadPool* pool);
  void update(const Models& models) override;
  bool set_parameters(std::span<const float> parameters) noexcept override {
    return take_parameters(models_.reward, parameters, parameters_);
  }
  void solve(SolveKey key, const PlanBatch& batch, PlanTrace* trace) override;
  std::string device() const override { return "cpu"; }

 private:
  /// Calls f(array, entries) for each array that grows with the problem.
  template <class F>
  void for_each_array(const F& f);
  void require_room(const Models& models);
  void check(const Models& models) const;
  cpu::RolloutJob shapes_of(const Models& models) const;

  int threads() const { return pool_ ? pool_->threads() : 1; }
  /// Of the widest tile: another B may choose another width.
  int scratch_lanes() const { return wide_blocks(grouped()) * cpu::kLanes; }
  bool grouped() const { return config().member_draw != MemberDraw::per_step; }
  bool charges_by_matrix() const {
    return constants().covariance.full() && config().prior == Prior::gaussian;
  }

  template <class F>
  void for_each(int count, const F& f) {
    if (pool_) {
      // a reference fits the function's small buffer: no allocation
      pool_->run(count, std::cref(f));
    } else {
      for (int i = 0; i < count; ++i) f(i, 0);
    }
  }

  void draw_members(const SolveKey& key, int iteration, const PlanTrace* trace, int members);
  const float* cost_plan(const PlanBatch& batch);
  const float* charge(int problems, const float* plan);
  double value_constant(const float* plan) const;
  void check_states(const PlanBatch& batch);
  cpu::RolloutJob job_of(SolveKey key, int iteration, const PlanBatch& batch,
                         const float* cost_plan, const PlanTrace* trace) const;
  void roll_out(const cpu::RolloutJob& job, int rollouts);
  int roll_out_in_time(const cpu::RolloutJob& job);
  void roll_tile(const cpu::RolloutJob& job, int index, int worker);
  SolveDone iterate(SolveKey key, const PlanBatch& batch, PlanTrace* trace);
  void update_plans(const PlanBatch& batch, const float* cost_plan, int rollouts);
  void hand_out(const PlanBatch& batch, const SolveDone& done);
  void execute(const PlanBatch& batch);
  void record(const PlanBatch& batch, int rollouts, PlanTrace& trace) const;
  void record_before(const PlanBatch& batch, const float* cost_plan, RolloutTrace& trace) const;

  Models models_;
  std::vector<float> parameters_;  // of the reward; empty: its own
  ThreadPool* pool_;
  hd::Covariance covariance_ = {};
  cpu::TileClock clock_;  // read under a deadline alone

  // filled per solve, in this order
  std::vector<std::uint32_t> default_id_;
  std::vector<PlanStatus> status_;
  std::vector<float> state_;     // [B, nx]
  std::vector<int> member_;      // [H]
  std::vector<float> residual_;  // [B, H+1, nu]
  std::vector<float> charged_;   // [B, H+1, nu], empty where Sigma is diagonal
  cpu::Tiling tiling_;
  cpu::AlignedFloats noise_;               // tiles of [H+1, nu, width]
  std::vector<float> cost_, weight_;       // [B, K]
  std::vector<std::uint8_t> valid_;        // [B, K]
  std::vector<cpu::TileScratch> scratch_;  // per worker
  cpu::AlignedFloats policy_block_;        // [nx + nu, lanes]
  cpu::AlignedBytes policy_scratch_;
};

CpuPlanner::CpuPlanner(const PlannerConfig& config, const ProblemShape& shape, const Models& models,
                       ThreadPool* pool)
    : Planner(config, shape), pool_(pool) {
  check(models);
  require_room(models);
  for_each_array([](auto& array, std::size_t entries) { array.resize(entries); });
  std::iota(default_id_.begin(), default_id_.end(), 0u);
  covariance_ = constants().covariance.view(shape.nu);
  scratch_.resize(threads());
  clock_.prepare(
      cpu::Tiling::most(shape.max_problems * config.rollouts, wide_blocks(grouped()), threads()));
  update(models);
}

template <class F>
void CpuPlanner::for_each_array(const F& f) {
  const std::size_t problems = shape().max_problems, lanes = problems * config().rollouts;
  f(default_id_, problems);
  f(status_, problems);
  f(state_, problems * shape().nx);
  f(member_, static_cast<std::size_t>(config().horizon));
  f(residual_, problems * plan_size());
  f(charged_, charges_by_matrix() ? problems * plan_size() : 0);
  f(cost_, lanes);
  f(weight_, lanes);
  f(valid_, lanes);
  f(noise_, (lanes + cpu::kLanes) * plan_size());  // the last block may be cut short
}

/// Throws Error where the arrays are more than the machine has.
void CpuPlanner::require_room(const Models& models) {
  std::uint64_t bytes = threads() * cpu::TileScratch::bytes(shapes_of(models), scratch_lanes());
  for_each_array(
      [&](const auto& array, std::size_t entries) { bytes += entries * sizeof(array[0]); });
  const auto number = [](int n) { return std::to_string(n); };
  const std::string problems =
      shape().max_problems > 1 ? number(shape().max_problems) + " problems x " : "";
  require_memory(bytes,
                 "planner: " + problems + number(config().rollouts) + " rollouts x " +
                     number(config().horizon + 1) + " steps x " + number(shape().nu) + " actions",
                 "fewer rollouts, a shorter horizon or fewer problems need less");
}

cpu::RolloutJob CpuPlanner::shapes_of(const Models& models) const {
  cpu::RolloutJob job = {};
  job.config = &config();
  job.shape = &shape();
  job.models = models;
  return job;
}

void CpuPlanner::check(const Models& models) const {
  check_models(config(),
               {.dynamics_and_value = models.dynamics && models.value,
                .members = models.dynamics ? models.dynamics->members() : 0,
                .analytic_reward = models.reward != nullptr,
                .learned_reward = models.dynamics && models.dynamics->predicts_reward(),
                .policy = models.policy != nullptr,
                .termination = (models.dynamics && models.dynamics->predicts_termination()) ||
                               (models.reward && models.reward->has_termination())});
}

void CpuPlanner::update(const Models& models) {
  check(models);
  models_ = models;
  parameters_.reserve(parameter_count(models.reward));
  for (auto& s : scratch_) s.prepare(shapes_of(models), scratch_lanes());
  if (config().control_mode != ControlMode::policy_residual) return;
  const int lanes = cpu::pad_lanes(shape().max_problems);
  policy_block_.resize(static_cast<std::size_t>(shape().nx + shape().nu) * lanes);
  policy_scratch_.resize(models.policy->scratch_bytes(lanes));
}

void CpuPlanner::draw_members(const SolveKey& key, int iteration, const PlanTrace* trace,
                              int members) {
  for (int t = 0; t < config().horizon; ++t)
    member_[t] = trace && !trace->member.empty()
                     ? trace->member[static_cast<std::size_t>(iteration) * config().horizon + t]
                     : hd::draw_member(key.seed, key.solve, iteration, t, members);
}

/// w = Sigma^-1 u for each step of the plans, where Sigma is not diagonal.
const float* CpuPlanner::charge(int problems, const float* plan) {
  if (charged_.empty()) return plan;
  const int nu = shape().nu, steps = problems * (config().horizon + 1);
  for (int step = 0; step < steps; ++step) {
    const std::size_t at = static_cast<std::size_t>(step) * nu;
    for (int i = 0; i < nu; ++i) charged_[at + i] = hd::charged(covariance_, i, plan + at);
  }
  return charged_.data();
}

/// The u of S and of the quadratic term: the plan, or its residual to the time mean; times Sigma^-1
/// where that is no diagonal.
const float* CpuPlanner::cost_plan(const PlanBatch& batch) {
  if (config().control_mode != ControlMode::mean_residual)
    return charge(batch.problems, batch.plan.data());
  const int steps = config().horizon + 1;
  for (int b = 0; b < batch.problems; ++b)
    for (int i = 0; i < shape().nu; ++i) {
      const float* u = batch.plan.data() + b * plan_size() + i;
      double mean = 0;
      for (int t = 0; t < steps; ++t) mean += u[t * shape().nu];
      mean /= steps;
      for (int t = 0; t < steps; ++t)
        residual_[b * plan_size() + static_cast<std::size_t>(t) * shape().nu + i] =
            static_cast<float>(u[t * shape().nu] - mean);
    }
  return charge(batch.problems, residual_.data());
}

/// c of hd::soft_value.
double CpuPlanner::value_constant(const float* plan) const {
  if (config().prior == Prior::uniform) return constants().uniform;
  double sum = 0;
  for (int t = 0; t <= config().horizon; ++t, plan += shape().nu)
    for (int i = 0; i < shape().nu; ++i) {
      const float u = charged_.empty() ? plan[i] : hd::whitened(covariance_, i, plan);
      sum += static_cast<double>(
          hd::gaussian_term(constants().discount[t], u, u, constants().inverse_variance[i]));
    }
  return 0.5 * config().temperature * sum;
}

cpu::RolloutJob CpuPlanner::job_of(SolveKey key, int iteration, const PlanBatch& batch,
                                   const float* cost_plan, const PlanTrace* trace) const {
  const std::size_t noise =
      static_cast<std::size_t>(batch.problems) * config().rollouts * plan_size();
  return {
      .config = &config(),
      .shape = &shape(),
      .models = models_,
      .parameters = parameters_,
      .key = key,
      .iteration = iteration,
      .problems = batch.problems,
      .observation = state_.data(),
      .plan = batch.plan.data(),
      .cost_plan = cost_plan,
      .problem_id = batch.problem_id.empty() ? default_id_.data() : batch.problem_id.data(),
      .sigma = constants().sigma.data(),
      .inverse_variance = constants().inverse_variance.data(),
      .covariance = constants().covariance.full() ? &covariance_ : nullptr,
      .neutral = constants().neutral.data(),
      .low = constants().low.data(),
      .high = constants().high.data(),
      .discount = constants().discount.data(),
      .member = member_.data(),
      .fixed_noise =
          trace && !trace->noise.empty() ? trace->noise.data() + iteration * noise : nullptr,
      .trace = trace ? trace->rollouts : nullptr,
      .trace_lane = trace && trace->rollouts
                        ? cpu::make_room(*trace->rollouts, config(), shape(), batch.problems)
                        : 0,
  };
}

void CpuPlanner::roll_tile(const cpu::RolloutJob& job, int index, int worker) {
  const int begin = tiling_.begin(index);
  const cpu::RolloutOutput out = {noise_.data() + begin * plan_size(), cost_.data(), valid_.data()};
  cpu::roll_out(job, begin, tiling_.end(index), tiling_.width(index), scratch_[worker], out);
}

/// At least the first `rollouts` of each problem.
void CpuPlanner::roll_out(const cpu::RolloutJob& job, int rollouts) {
  const auto roll = [&](int index, int worker) {
    if (tiling_.first_rollout(index, config().rollouts) < rollouts) roll_tile(job, index, worker);
  };
  for_each(tiling_.count(), roll);
}

/// As many as there is time for; returns how many leading ones of each problem these are, whole
/// action sequences.
int CpuPlanner::roll_out_in_time(const cpu::RolloutJob& job) {
  clock_.begin_iteration();
  const auto roll = [&](int index, int worker) {
    clock_.run(index, [&](int tile) { roll_tile(job, tile, worker); });
  };
  for_each(tiling_.count(), roll);
  const int done = clock_.end_iteration();
  return done - done % config().particles;
}

/// From the first `k` rollouts of each problem.
void CpuPlanner::update_plans(const PlanBatch& batch, const float* cost_plan, int k) {
  const auto update_one = [&](int b, int) {
    if (status_[b] == PlanStatus::bad_state) return;
    const std::size_t first = static_cast<std::size_t>(b) * config().rollouts;
    if (config().particles > 1)
      cpu::average_particles(config().particles, std::span(cost_).subspan(first, k),
                             std::span(valid_).subspan(first, k));
    const cpu::UpdateInput in = {
        .rollouts = k,
        .particles = config().particles,
        .horizon = config().horizon,
        .nu = shape().nu,
        .cost = std::span(cost_).subspan(first, k),
        .valid = std::span(valid_).subspan(first, k),
        .uniform = config().prior == Prior::uniform,
        .temperature = config().temperature,
        .value_constant = value_constant(cost_plan + b * plan_size()),
        .noise = noise_.data(),
        .tiling = &tiling_,
        .first_lane = static_cast<int>(first),
    };
    const cpu::Weighed r = cpu::update_plan(in, std::span(weight_).subspan(first, k),
                                            batch.plan.subspan(b * plan_size(), plan_size()));
    batch.value[b] = r.value;
    if (!batch.effective_samples.empty()) batch.effective_samples[b] = r.effective_samples;
    if (!batch.valid_share.empty()) batch.valid_share[b] = r.valid_share;
    status_[b] = r.status;
  };
  for_each(batch.problems, update_one);
}

/// After an update from the first `rollouts` of each problem.
void CpuPlanner::record(const PlanBatch& batch, int rollouts, PlanTrace& trace) const {
  const auto append = [](auto& to, const auto& from, std::size_t n) {
    to.insert(to.end(), from.begin(), from.begin() + static_cast<std::ptrdiff_t>(n));
  };
  const std::size_t lanes = static_cast<std::size_t>(batch.problems) * config().rollouts;
  append(trace.cost, cost_, lanes);
  for (std::size_t lane = 0; lane < lanes; ++lane)
    if (lane % config().rollouts >= static_cast<std::size_t>(rollouts))
      trace.cost[trace.cost.size() - lanes + lane] = std::nanf("");
  append(trace.valid, valid_, lanes);
  append(trace.plan, batch.plan, batch.plan.size());
  append(trace.value, batch.value, batch.value.size());
  for (int b = 0; b < batch.problems; ++b) {
    double sum = 0, squares = 0;
    const bool weighed = status_[b] == PlanStatus::ok || status_[b] == PlanStatus::all_invalid;
    for (int k = 0; k < rollouts && weighed; ++k) {
      const double w = weight_[static_cast<std::size_t>(b) * config().rollouts + k];
      sum += w;
      squares += w * w;
    }
    trace.effective_samples.push_back(weighed ? sum * sum / squares / config().particles : 0);
  }
}

/// Before the rollouts of an iteration.
void CpuPlanner::record_before(const PlanBatch& batch, const float* cost_plan,
                               RolloutTrace& trace) const {
  trace.plan.insert(trace.plan.end(), batch.plan.begin(), batch.plan.end());
  for (int b = 0; b < batch.problems; ++b)
    trace.value_constant.push_back(value_constant(cost_plan + b * plan_size()));
}

/// Marks problems whose observation is not finite; their results say so, and models see zeros in
/// place of it (a simulator used as the model would log each NaN).
void CpuPlanner::check_states(const PlanBatch& batch) {
  for (int b = 0; b < batch.problems; ++b) {
    const auto x = batch.observation.subspan(static_cast<std::size_t>(b) * shape().nx, shape().nx);
    const bool finite = all_finite(x);
    status_[b] = finite ? PlanStatus::ok : PlanStatus::bad_state;
    const auto to = state_.begin() + static_cast<std::ptrdiff_t>(b) * shape().nx;
    std::transform(x.begin(), x.end(), to, [finite](float v) { return finite ? v : 0.0f; });
    if (finite) continue;
    batch.value[b] = std::nan("");
    if (!batch.effective_samples.empty()) batch.effective_samples[b] = 0;
    if (!batch.valid_share.empty()) batch.valid_share[b] = 0;
  }
}

/// action = clip(n + u_0), with a policy clip(mu(x_0) + u_0).
void CpuPlanner::execute(const PlanBatch& batch) {
  if (batch.action.empty()) return;
  const int nx = shape().nx, nu = shape().nu, lanes = cpu::pad_lanes(shape().max_problems);
  const bool policy = config().control_mode == ControlMode::policy_residual;
  if (policy) {
    for (int i = 0; i < nx; ++i)
      for (int b = 0; b < batch.problems; ++b)
        policy_block_[static_cast<std::size_t>(i) * lanes + b] =
            state_[static_cast<std::size_t>(b) * nx + i];
    models_.policy->evaluate({policy_block_.data(), lanes}, batch.problems,
                             {policy_block_.data() + static_cast<std::size_t>(nx) * lanes, lanes},
                             policy_scratch_.data());
  }
  for (int b = 0; b < batch.problems; ++b)
    for (int i = 0; i < nu; ++i) {
      float base = policy && status_[b] != PlanStatus::bad_state
                       ? policy_block_[static_cast<std::size_t>(nx + i) * lanes + b]
                       : constants().neutral[i];
      // a broken policy: status not_finite says so, and the action stays usable
      if (!std::isfinite(base)) base = constants().neutral[i];
      batch.action[static_cast<std::size_t>(b) * nu + i] =
          hd::clip(base + batch.plan[b * plan_size() + i], constants().low[i], constants().high[i]);
    }
}

/// Plan updates until all are made that the budget has room for.
SolveDone CpuPlanner::iterate(SolveKey key, const PlanBatch& batch, PlanTrace* trace) {
  const SolveDone part = part_of(config(), batch.budget);
  const bool timed = has_deadline(batch.budget);
  SolveDone done;
  for (int iteration = 0; iteration < part.iterations; ++iteration) {
    draw_members(key, iteration, trace, models_.dynamics->members());
    const float* in_cost = cost_plan(batch);
    if (trace && trace->rollouts) record_before(batch, in_cost, *trace->rollouts);
    const cpu::RolloutJob job = job_of(key, iteration, batch, in_cost, trace);
    const bool last = iteration + 1 == part.iterations;
    int rollouts = last ? part.rollouts : config().rollouts;
    if (timed) {
      rollouts = roll_out_in_time(job);
      if (rollouts < fewest_rollouts(config(), batch.budget)) break;
    } else {
      roll_out(job, rollouts);
    }
    update_plans(batch, in_cost, rollouts);
    done = {iteration + 1, rollouts};
    if (trace) record(batch, rollouts, *trace);
    if (rollouts < config().rollouts) break;
  }
  return done;
}

void CpuPlanner::hand_out(const PlanBatch& batch, const SolveDone& done) {
  if (done != whole_solve(config()))  // bad states and costs are worse news, and stay
    for (PlanStatus& status : std::span(status_).first(batch.problems))
      if (usable(status)) status = PlanStatus::deadline;
  if (!batch.status.empty()) std::copy_n(status_.begin(), batch.problems, batch.status.begin());
  if (batch.done) *batch.done = done;
  execute(batch);
}

void CpuPlanner::solve(SolveKey key, const PlanBatch& batch, PlanTrace* trace) {
  check_batch(config(), shape(), batch);
  if (trace) check_trace(config(), shape(), batch, *trace, models_.dynamics->members());
  check_states(batch);
  tiling_ = cpu::Tiling(batch.problems * config().rollouts, wide_blocks(grouped()), threads());
  const bool timed = has_deadline(batch.budget);
  if (timed) clock_.begin_solve(tiling_, config().rollouts, batch.budget.deadline);
  const SolveDone done = iterate(key, batch, trace);
  const bool planned = done.iterations > 0;
  if (planned)
    hand_out(batch, done);
  else
    hand_out_no_time(constants(), batch);
  if (timed) clock_.end_solve(planned);
}

}  // namespace

Planner::Planner(const PlannerConfig& config, const ProblemShape& shape)
    : config_(config), shape_(shape) {
  check_shape(config, shape);
  constants_ = std::make_unique<PlannerConstants>(config, shape);
}

Planner::~Planner() = default;

std::size_t Planner::plan_size() const {
  return static_cast<std::size_t>(config_.horizon + 1) * shape_.nu;
}

bool Planner::set_bounds(std::span<const float> low, std::span<const float> high) noexcept {
  if (!bounds_fit(shape_, low, high)) return false;
  constants_->set_bounds(config_, low, high);
  return true;
}

bool Planner::set_parameters(std::span<const float> parameters) noexcept {
  return parameters.empty();
}

void Planner::shift(std::span<float> plan) const { shift_plan(shape_.nu, plan, plan_size()); }

void Planner::draw(SolveKey key, std::uint32_t problem, std::span<float> plan) const {
  draw_plan(*constants_, key, problem, plan, plan_size());
}

std::unique_ptr<Planner> make_planner(const PlannerConfig& config, const ProblemShape& shape,
                                      const Models& models, const PlannerOptions& options) {
  if (config.proposals == Proposals::plan_and_policy)
    return make_proposing_planner(config, shape, models, options);
  const bool on_device =
      options.device == Device::cuda ||
      (options.device == Device::automatic && cuda_refusal(models, options.cuda).empty());
  if (on_device) return make_cuda_planner(config, shape, models, options.cuda);
  return std::make_unique<CpuPlanner>(config, shape, models, options.pool);
}

}  // namespace softmpc
