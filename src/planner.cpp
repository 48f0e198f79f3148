// SPDX-License-Identifier: Apache-2.0
// Checks, member draws, tiling and the order of a solve; the arithmetic is in cpu/ and hd/.
#include "softmpc/planner.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "cpu/kernels.h"
#include "cpu/rollout.h"
#include "cpu/tiling.h"
#include "cpu/update.h"
#include "planner_inputs.h"
#include "softmpc/error.h"
#include "softmpc/hd/philox.h"
#include "softmpc/hd/prior.h"
#include "softmpc/thread_pool.h"

namespace softmpc {
namespace {

/// Blocks of a wide tile: three registers for the dense kernels. Grouped by member, the lanes of
/// one member still fill registers.
int wide_blocks(bool grouped) { return grouped ? 12 : 3; }

}  // namespace

struct Planner::Impl {
  PlannerConfig config;
  ProblemShape shape;
  ThreadPool* pool;
  std::size_t plan_size;
  PlannerConstants constants;

  // filled per solve, in this order
  std::vector<std::uint32_t> default_id;
  std::vector<PlanStatus> status;
  std::vector<float> state;     // [B, nx]
  std::vector<int> member;      // [H]
  std::vector<float> residual;  // [B, H+1, nu]
  cpu::Tiling tiling;
  cpu::AlignedFloats noise;               // tiles of [H+1, nu, width]
  std::vector<float> cost, weight;        // [B, K]
  std::vector<std::uint8_t> valid;        // [B, K]
  std::vector<cpu::TileScratch> scratch;  // per worker
  cpu::AlignedFloats policy_block;        // [nx + nu, lanes]
  cpu::AlignedBytes policy_scratch;

  int threads() const { return pool ? pool->threads() : 1; }

  template <class F>
  void for_each(int count, const F& f) {
    if (pool) {
      // a reference fits the function's small buffer: no allocation
      pool->run(count, std::cref(f));
    } else {
      for (int i = 0; i < count; ++i) f(i, 0);
    }
  }

  bool grouped() const { return config.member_draw != MemberDraw::per_step; }
  void draw_members(const SolveKey& key, int iteration, const PlanTrace* trace, int members);
  const float* cost_plan(const PlanBatch& batch);
  double value_constant(const float* plan) const;
  void check_states(const PlanBatch& batch);
  void roll_out(const cpu::RolloutJob& job);
  void update(const PlanBatch& batch, const float* cost_plan);
  void execute(const Models& models, const PlanBatch& batch);
  void record(const PlanBatch& batch, PlanTrace& trace) const;
};

Planner::Planner(const PlannerConfig& config, const ProblemShape& shape, ThreadPool* pool)
    : impl_(std::make_unique<Impl>()) {
  check_shape(config, shape);
  Impl& p = *impl_;
  p.config = config;
  p.shape = shape;
  p.pool = pool;
  p.plan_size = static_cast<std::size_t>(config.horizon + 1) * shape.nu;
  p.constants = PlannerConstants(config, shape);
  for (int b = 0; b < shape.max_problems; ++b)
    p.default_id.push_back(static_cast<std::uint32_t>(b));
  const std::size_t problems = shape.max_problems;
  p.status.resize(problems);
  p.state.resize(problems * shape.nx);
  p.member.resize(config.horizon);
  p.residual.resize(problems * p.plan_size);
  const std::size_t lanes = problems * config.rollouts;
  p.cost.resize(lanes);
  p.weight.resize(lanes);
  p.valid.resize(lanes);
  // the last block may be cut short
  p.noise.resize((lanes + cpu::kLanes) * p.plan_size);
  p.scratch.resize(p.threads());
}

Planner::~Planner() = default;
Planner::Planner(Planner&&) noexcept = default;
Planner& Planner::operator=(Planner&&) noexcept = default;
const PlannerConfig& Planner::config() const { return impl_->config; }
const ProblemShape& Planner::shape() const { return impl_->shape; }
std::size_t Planner::plan_size() const { return impl_->plan_size; }

void Planner::check(const Models& models) const {
  check_models(impl_->config,
               {.dynamics_and_value = models.dynamics && models.value,
                .analytic_reward = models.reward != nullptr,
                .learned_reward = models.dynamics && models.dynamics->predicts_reward(),
                .policy = models.policy != nullptr,
                .termination = (models.dynamics && models.dynamics->predicts_termination()) ||
                               (models.reward && models.reward->has_termination())});
}

void Planner::Impl::draw_members(const SolveKey& key, int iteration, const PlanTrace* trace,
                                 int members) {
  for (int t = 0; t < config.horizon; ++t)
    member[t] = trace && !trace->member.empty()
                    ? trace->member[static_cast<std::size_t>(iteration) * config.horizon + t]
                    : hd::draw_member(key.seed, key.solve, iteration, t, members);
}

/// The u of S and of the quadratic term: the plan, or its residual to the time mean.
const float* Planner::Impl::cost_plan(const PlanBatch& batch) {
  if (config.control_mode != ControlMode::mean_residual) return batch.plan.data();
  const int steps = config.horizon + 1;
  for (int b = 0; b < batch.problems; ++b)
    for (int i = 0; i < shape.nu; ++i) {
      const float* u = batch.plan.data() + b * plan_size + i;
      double mean = 0;
      for (int t = 0; t < steps; ++t) mean += u[t * shape.nu];
      mean /= steps;
      for (int t = 0; t < steps; ++t)
        residual[b * plan_size + static_cast<std::size_t>(t) * shape.nu + i] =
            static_cast<float>(u[t * shape.nu] - mean);
    }
  return residual.data();
}

/// c of hd::soft_value.
double Planner::Impl::value_constant(const float* plan) const {
  if (config.prior == Prior::uniform) return constants.uniform;
  double sum = 0;
  for (int t = 0; t <= config.horizon; ++t)
    for (int i = 0; i < shape.nu; ++i, ++plan)
      sum += static_cast<double>(
          hd::gaussian_term(constants.discount[t], *plan, *plan, constants.inverse_variance[i]));
  return 0.5 * config.temperature * sum;
}

void Planner::Impl::roll_out(const cpu::RolloutJob& job) {
  // for the widest tile: another B may choose another width, and must not allocate
  for (auto& s : scratch) s.prepare(job, wide_blocks(grouped()) * cpu::kLanes);
  const auto roll = [&](int index, int worker) {
    const int begin = tiling.begin(index);
    const cpu::RolloutOutput out = {noise.data() + begin * plan_size, cost.data(), valid.data()};
    cpu::roll_out(job, begin, tiling.end(index), tiling.width(index), scratch[worker], out);
  };
  for_each(tiling.count(), roll);
}

void Planner::Impl::update(const PlanBatch& batch, const float* cost_plan) {
  const int k = config.rollouts;
  const auto update_one = [&](int b, int) {
    if (status[b] == PlanStatus::bad_state) return;
    const std::size_t first = static_cast<std::size_t>(b) * k;
    const cpu::UpdateInput in = {
        .rollouts = k,
        .horizon = config.horizon,
        .nu = shape.nu,
        .cost = std::span(cost).subspan(first, k),
        .valid = std::span(valid).subspan(first, k),
        .uniform = config.prior == Prior::uniform,
        .temperature = config.temperature,
        .value_constant = value_constant(cost_plan + b * plan_size),
        .noise = noise.data(),
        .tiling = &tiling,
        .first_lane = static_cast<int>(first),
    };
    const cpu::UpdateResult r = cpu::update_plan(in, std::span(weight).subspan(first, k),
                                                 batch.plan.subspan(b * plan_size, plan_size));
    batch.value[b] = r.value;
    if (!batch.effective_samples.empty()) batch.effective_samples[b] = r.effective_samples;
    if (!batch.valid_share.empty()) batch.valid_share[b] = r.valid_share;
    status[b] = r.status;
  };
  for_each(batch.problems, update_one);
}

void Planner::Impl::record(const PlanBatch& batch, PlanTrace& trace) const {
  const auto append = [](auto& to, const auto& from, std::size_t n) {
    to.insert(to.end(), from.begin(), from.begin() + static_cast<std::ptrdiff_t>(n));
  };
  const std::size_t lanes = static_cast<std::size_t>(batch.problems) * config.rollouts;
  append(trace.cost, cost, lanes);
  append(trace.valid, valid, lanes);
  append(trace.plan, batch.plan, batch.plan.size());
  append(trace.value, batch.value, batch.value.size());
  for (int b = 0; b < batch.problems; ++b) {
    double sum = 0, squares = 0;
    const bool weighed = status[b] == PlanStatus::ok || status[b] == PlanStatus::all_invalid;
    for (int k = 0; k < config.rollouts && weighed; ++k) {
      const double w = weight[static_cast<std::size_t>(b) * config.rollouts + k];
      sum += w;
      squares += w * w;
    }
    trace.effective_samples.push_back(weighed ? sum * sum / squares : 0);
  }
}

/// Marks problems whose observation is not finite; their results say so, and models see zeros in
/// place of it (a simulator used as the model would log each NaN).
void Planner::Impl::check_states(const PlanBatch& batch) {
  for (int b = 0; b < batch.problems; ++b) {
    const auto x = batch.observation.subspan(static_cast<std::size_t>(b) * shape.nx, shape.nx);
    const bool finite = std::all_of(x.begin(), x.end(), [](float v) { return std::isfinite(v); });
    status[b] = finite ? PlanStatus::ok : PlanStatus::bad_state;
    const auto to = state.begin() + static_cast<std::ptrdiff_t>(b) * shape.nx;
    std::transform(x.begin(), x.end(), to, [finite](float v) { return finite ? v : 0.0f; });
    if (finite) continue;
    batch.value[b] = std::nan("");
    if (!batch.effective_samples.empty()) batch.effective_samples[b] = 0;
    if (!batch.valid_share.empty()) batch.valid_share[b] = 0;
  }
}

/// action = clip(n + u_0), with a policy clip(mu(x_0) + u_0).
void Planner::Impl::execute(const Models& models, const PlanBatch& batch) {
  if (batch.action.empty()) return;
  const int nx = shape.nx, nu = shape.nu, lanes = cpu::pad_lanes(shape.max_problems);
  const bool policy = config.control_mode == ControlMode::policy_residual;
  if (policy) {
    policy_block.resize(static_cast<std::size_t>(nx + nu) * lanes);
    policy_scratch.resize(models.policy->scratch_bytes(lanes));
    for (int i = 0; i < nx; ++i)
      for (int b = 0; b < batch.problems; ++b)
        policy_block[static_cast<std::size_t>(i) * lanes + b] =
            state[static_cast<std::size_t>(b) * nx + i];
    models.policy->evaluate({policy_block.data(), lanes}, batch.problems,
                            {policy_block.data() + static_cast<std::size_t>(nx) * lanes, lanes},
                            policy_scratch.data());
  }
  for (int b = 0; b < batch.problems; ++b)
    for (int i = 0; i < nu; ++i) {
      float base = policy && status[b] != PlanStatus::bad_state
                       ? policy_block[static_cast<std::size_t>(nx + i) * lanes + b]
                       : constants.neutral[i];
      // a broken policy: status not_finite says so, and the action stays usable
      if (!std::isfinite(base)) base = constants.neutral[i];
      batch.action[static_cast<std::size_t>(b) * nu + i] =
          hd::clip(base + batch.plan[b * plan_size + i], shape.action_low[i], shape.action_high[i]);
    }
}

void Planner::solve(const Models& models, SolveKey key, const PlanBatch& batch, PlanTrace* trace) {
  Impl& p = *impl_;
  check(models);
  check_batch(p.config, p.shape, batch);
  if (trace) check_trace(p.config, p.shape, batch, *trace, models.dynamics->members());
  p.check_states(batch);
  const int total = batch.problems * p.config.rollouts;
  p.tiling = cpu::Tiling(total, wide_blocks(p.grouped()), p.threads());
  for (int iteration = 0; iteration < p.config.iterations; ++iteration) {
    p.draw_members(key, iteration, trace, models.dynamics->members());
    const float* cost_plan = p.cost_plan(batch);
    const float* fixed = trace && !trace->noise.empty()
                             ? trace->noise.data() + iteration * total * p.plan_size
                             : nullptr;
    const std::uint32_t* id =
        batch.problem_id.empty() ? p.default_id.data() : batch.problem_id.data();
    const cpu::RolloutJob job = {
        .config = &p.config,
        .shape = &p.shape,
        .models = models,
        .key = key,
        .iteration = iteration,
        .problems = batch.problems,
        .observation = p.state.data(),
        .plan = batch.plan.data(),
        .cost_plan = cost_plan,
        .problem_id = id,
        .sigma = p.constants.sigma.data(),
        .inverse_variance = p.constants.inverse_variance.data(),
        .neutral = p.constants.neutral.data(),
        .discount = p.constants.discount.data(),
        .member = p.member.data(),
        .fixed_noise = fixed,
    };
    p.roll_out(job);
    p.update(batch, cost_plan);
    if (trace) p.record(batch, *trace);
  }
  if (!batch.status.empty()) std::copy_n(p.status.begin(), batch.problems, batch.status.begin());
  p.execute(models, batch);
}

void Planner::shift(std::span<float> plan) const {
  shift_plan(impl_->shape.nu, plan, impl_->plan_size);
}

void Planner::draw(SolveKey key, std::uint32_t problem, std::span<float> plan) const {
  draw_plan(impl_->constants, key, problem, plan, impl_->plan_size);
}

}  // namespace softmpc
