// SPDX-License-Identifier: Apache-2.0
// Checks, member draws, tiling and the order of a solve; the arithmetic is in cpu/ and hd/.
#include "softmpc/planner.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

#include "cpu/kernels.h"
#include "cpu/rollout.h"
#include "cpu/tiling.h"
#include "cpu/update.h"
#include "softmpc/error.h"
#include "softmpc/hd/philox.h"
#include "softmpc/hd/prior.h"
#include "softmpc/thread_pool.h"

namespace softmpc {
namespace {

void require(bool ok, const char* rule) {
  if (!ok) throw Error(std::string("planner solve: ") + rule);
}

/// Lanes of a solve are counted in an int, padding included.
constexpr std::size_t kMostLanes = 1u << 30;

void check_shape(const PlannerConfig& c, const ProblemShape& s) {
  const auto fail = [](const std::string& text) { throw UsageError("planner: " + text); };
  if (s.nx < 1 || s.nu < 1 || s.nu > hd::kMaxActionSize)
    fail("nx " + std::to_string(s.nx) + ", nu " + std::to_string(s.nu) +
         " must be positive, nu at most " + std::to_string(hd::kMaxActionSize));
  if (s.max_problems < 1) fail("max_problems must be positive");
  if (static_cast<int>(s.action_low.size()) != s.nu ||
      static_cast<int>(s.action_high.size()) != s.nu)
    fail("bounds must have nu = " + std::to_string(s.nu) + " entries");
  for (int i = 0; i < s.nu; ++i)
    if (!(s.action_low[i] < s.action_high[i]) || !std::isfinite(s.action_low[i]) ||
        !std::isfinite(s.action_high[i]))
      fail("bounds of action " + std::to_string(i) + " must be finite, low below high");
  if (c.rollouts < 1 || c.horizon < 1 || c.horizon > hd::kMaxHorizon || c.iterations < 1 ||
      c.iterations > hd::kMaxIterations)
    fail("rollouts, horizon (at most " + std::to_string(hd::kMaxHorizon) +
         ") and iterations (at most " + std::to_string(hd::kMaxIterations) + ") must be positive");
  if (!(c.temperature > 0) || !std::isfinite(c.temperature) || !(c.gamma > 0) || c.gamma > 1)
    fail("temperature must be positive and finite, gamma in (0, 1]");
  if (c.variance.size() != 1 && static_cast<int>(c.variance.size()) != s.nu)
    fail("variance has " + std::to_string(c.variance.size()) +
         " entries; 1 or nu = " + std::to_string(s.nu) + " are possible");
  for (double v : c.variance)
    if (!(v > 0) || !std::isfinite(v)) fail("variance must be positive");
}

/// Blocks of a wide tile: three registers for the dense kernels. Grouped by member, the lanes of one
/// member still fill registers.
int wide_blocks(bool grouped) { return grouped ? 12 : 3; }

}  // namespace

struct Planner::Impl {
  PlannerConfig config;
  ProblemShape shape;
  ThreadPool* pool;
  std::size_t plan_size;

  // constants
  std::vector<float> sigma, inverse_variance, discount;
  double uniform_constant = 0;

  // filled per solve, in this order
  std::vector<std::uint32_t> default_id;
  std::vector<PlanStatus> status;
  std::vector<float> state;               // [B, nx]
  std::vector<int> member;                // [H]
  std::vector<float> residual;            // [B, H+1, nu]
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
  void check_sizes(const PlanBatch& batch) const;
  void check_trace(const PlanBatch& batch, const PlanTrace& trace, int members) const;
  void check_plan(std::span<const float> plan) const;
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
  for (int i = 0; i < shape.nu; ++i) {
    const double variance = config.variance[config.variance.size() == 1 ? 0 : i];
    p.sigma.push_back(static_cast<float>(std::sqrt(variance)));
    p.inverse_variance.push_back(static_cast<float>(1 / variance));
    p.uniform_constant +=
        std::log(static_cast<double>(shape.action_high[i]) - shape.action_low[i]) -
        0.5 * std::log(2 * std::numbers::pi * variance);
  }
  double discount = 1, discount_sum = 0;
  for (int t = 0; t <= config.horizon; ++t, discount *= config.gamma) {
    p.discount.push_back(static_cast<float>(discount));
    discount_sum += discount;
  }
  p.uniform_constant *= config.temperature * discount_sum;
  for (int b = 0; b < shape.max_problems; ++b)
    p.default_id.push_back(static_cast<std::uint32_t>(b));
  const std::size_t problems = shape.max_problems;
  if (problems * config.rollouts > kMostLanes)
    throw UsageError("planner: max_problems times rollouts is " +
                     std::to_string(problems * config.rollouts) + ", at most " +
                     std::to_string(kMostLanes) + " are possible");
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

void Planner::Impl::check_sizes(const PlanBatch& batch) const {
  const std::size_t b = batch.problems;
  require(batch.problems >= 1 && batch.problems <= shape.max_problems,
          "problems must be in 1..max_problems");
  require(batch.observation.size() == b * shape.nx, "observation must be [B, nx]");
  require(batch.plan.size() == b * plan_size, "plan must be [B, H+1, nu]");
  require(batch.problem_id.empty() || batch.problem_id.size() == b, "problem_id must be [B]");
  require(batch.value.size() == b, "value must be [B]");
  require(batch.action.empty() || batch.action.size() == b * shape.nu, "action must be [B, nu]");
  require(batch.effective_samples.empty() || batch.effective_samples.size() == b,
          "effective_samples must be [B]");
  require(batch.valid_share.empty() || batch.valid_share.size() == b, "valid_share must be [B]");
  require(batch.status.empty() || batch.status.size() == b, "status must be [B]");
}

void Planner::check(const Models& models) const {
  const PlannerConfig& config = impl_->config;
  require(models.dynamics && models.value, "dynamics and value must be given");
  require(models.reward || models.dynamics->predicts_reward(), "a reward must be given or learned");
  require(config.control_mode != ControlMode::policy_residual || models.policy,
          "control_mode policy_residual needs a policy");
  require(!config.handle_terminations || models.dynamics->predicts_termination() ||
              (models.reward && models.reward->has_termination()),
          "handle_terminations needs a termination function, analytic or learned");
}

void Planner::Impl::check_trace(const PlanBatch& batch, const PlanTrace& trace, int members) const {
  const std::size_t iterations = config.iterations, rollouts = config.rollouts;
  const std::size_t noise_size = iterations * batch.problems * rollouts * plan_size;
  if (!trace.noise.empty() && trace.noise.size() != noise_size)
    throw Error("planner solve: noise must be [iterations, B, K, H+1, nu]");
  if (!trace.member.empty() && trace.member.size() != iterations * config.horizon)
    throw Error("planner solve: member must be [iterations, H]");
  for (int m : trace.member)
    if (m < 0 || m >= members)
      throw Error("planner solve: member " + std::to_string(m) + " is not one of " +
                  std::to_string(members));
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
  if (config.prior == Prior::uniform) return uniform_constant;
  double sum = 0;
  for (int t = 0; t <= config.horizon; ++t)
    for (int i = 0; i < shape.nu; ++i, ++plan)
      sum += static_cast<double>(hd::gaussian_term(discount[t], *plan, *plan, inverse_variance[i]));
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

/// action = clip(u_0), with a policy clip(mu(x_0) + u_0).
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
      float mu = policy && status[b] != PlanStatus::bad_state
                     ? policy_block[static_cast<std::size_t>(nx + i) * lanes + b]
                     : 0.0f;
      // a broken policy: status not_finite says so, and the action stays usable
      if (!std::isfinite(mu)) mu = 0;
      batch.action[static_cast<std::size_t>(b) * nu + i] =
          hd::clip(mu + batch.plan[b * plan_size + i], shape.action_low[i], shape.action_high[i]);
    }
}

void Planner::solve(const Models& models, SolveKey key, const PlanBatch& batch, PlanTrace* trace) {
  Impl& p = *impl_;
  check(models);
  p.check_sizes(batch);
  if (trace) p.check_trace(batch, *trace, models.dynamics->members());
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
        .sigma = p.sigma.data(),
        .inverse_variance = p.inverse_variance.data(),
        .discount = p.discount.data(),
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

void Planner::Impl::check_plan(std::span<const float> plan) const {
  if (plan.size() != plan_size)
    throw Error("planner: a plan has " + std::to_string(plan.size()) +
                " entries; (H+1) nu = " + std::to_string(plan_size) + " are needed");
}

void Planner::shift(std::span<float> plan) const {
  impl_->check_plan(plan);
  std::copy(plan.begin() + impl_->shape.nu, plan.end(), plan.begin());
  std::fill(plan.end() - impl_->shape.nu, plan.end(), 0.0f);
}

void Planner::draw(SolveKey key, std::uint32_t problem, std::span<float> plan) const {
  impl_->check_plan(plan);
  const int nu = impl_->shape.nu;
  for (int t = 0; t <= impl_->config.horizon; ++t)
    for (int i = 0; i < nu; i += 4) {
      const hd::Philox4 bits = hd::philox(
          {key.solve, hd::draw_word(hd::Stream::plan, 0, t, i / 4), problem, 0}, key.seed);
      float n[4];
      hd::normal_pair(bits.x, bits.y, n[0], n[1]);
      hd::normal_pair(bits.z, bits.w, n[2], n[3]);
      for (int j = 0; j < std::min(4, nu - i); ++j)
        plan[static_cast<std::size_t>(t) * nu + i + j] = impl_->sigma[i + j] * n[j];
    }
}

}  // namespace softmpc
