// SPDX-License-Identifier: Apache-2.0
#include "cpu/rollout.h"

#include <algorithm>
#include <cstring>

#include "cpu/kernels.h"
#include "softmpc/hd/philox.h"
#include "softmpc/hd/prior.h"
#include "softmpc/multiversion.h"

namespace softmpc::cpu {
namespace {

/// Component i of step t of the lanes of a tile.
struct ActionRow {
  const float* plan;       // of the step and component, by problem: plan[problem * plan_size]
  const float* cost_plan;  // the same
  std::ptrdiff_t plan_size;
  float low, high, discount, inverse_variance;
  const float* base;  // [lanes] mu(x_t), or n
  const float* eps;   // [lanes]
  float* action;      // [lanes] out
  float* prior;       // [lanes] in and out
  std::uint32_t* valid;
};

template <Prior prior_kind>
SOFTMPC_HD void act_run(const ActionRow row, const LaneRun run) {
  const float u = row.plan[run.problem * row.plan_size];
  const float cost_u = row.cost_plan[run.problem * row.plan_size];
  const float low = row.low, high = row.high, discount = row.discount;
  const float inverse_variance = row.inverse_variance;
  const float* __restrict base = row.base;
  const float* __restrict eps = row.eps;
  float* __restrict action = row.action;
  float* __restrict prior = row.prior;
  std::uint32_t* __restrict valid = row.valid;
  for (int j = run.begin, end = run.end; j < end; ++j) {
    const hd::Acted acted = hd::act(prior_kind == Prior::uniform, base[j], u, cost_u, eps[j], low,
                                    high, discount, inverse_variance);
    action[j] = acted.action;
    valid[j] &= static_cast<std::uint32_t>(acted.inside);
    prior[j] += acted.prior_term;
  }
}

SOFTMPC_MULTIVERSION
void act_gaussian(const ActionRow& row, const LaneRun* runs, int count) {
  for (int r = 0; r < count; ++r) act_run<Prior::gaussian>(row, runs[r]);
}

SOFTMPC_MULTIVERSION
void act_uniform(const ActionRow& row, const LaneRun* runs, int count) {
  for (int r = 0; r < count; ++r) act_run<Prior::uniform>(row, runs[r]);
}

typedef float Lanes __attribute__((vector_size(4 * kLanes), aligned(4)));

/// Rows of a block [rows, lanes], kLanes of each.
struct LaneRows {
  float* data;
  std::ptrdiff_t stride;
  SOFTMPC_HD Lanes& operator[](int i) const { return *reinterpret_cast<Lanes*>(data + i * stride); }
};

/// What finish_noise() says of noise [nu, lanes] at a step; its square, discounted, goes to
/// `prior`.
SOFTMPC_MULTIVERSION
void correlate(const hd::Covariance& sigma, bool uniform, bool given, float discount, float* noise,
               float* prior, int lanes) {
  for (int j = 0; j < lanes; j += kLanes) {
    Lanes square;
    hd::finish_noise(sigma, uniform, given, LaneRows{noise + j, lanes}, square);
    *reinterpret_cast<Lanes*>(prior + j) += discount * square;
  }
}

SOFTMPC_MULTIVERSION
void add_reward(float discount, const float* __restrict reward, const float* __restrict alive,
                float* __restrict j, int count) {
  for (int k = 0; k < count; ++k)
    j[k] = alive[k] != 0 ? hd::subtract_reward(j[k], discount, reward[k]) : j[k];
}

}  // namespace

template <class F>
void TileScratch::for_each_array(const RolloutJob& job, int lanes, const F& f) {
  const std::size_t n = lanes, nx = job.shape->nx, nu = job.shape->nu;
  f(x, nx * n);
  f(next, nx * n);
  f(action, nu * n);
  f(base, nu * n);
  f(grouped, (2 * nx + nu + 1) * n);
  for (auto* v : {&j, &prior, &alive, &reward, &value}) f(*v, n);
  f(terminated, 2 * n);
  f(runs, n);
  for (auto* v : {&id, &rollout, &sequence, &valid}) f(*v, n);
  for (auto* v : {&problem, &member, &order}) f(*v, n);
  std::size_t most =
      std::max(job.models.dynamics->scratch_bytes(lanes), job.models.value->scratch_bytes(lanes));
  if (job.models.policy) most = std::max(most, job.models.policy->scratch_bytes(lanes));
  f(net, most);
}

void TileScratch::prepare(const RolloutJob& job, int lanes) {
  for_each_array(job, lanes, [](auto& v, std::size_t n) {
    if (v.size() < n) v.resize(n);
  });
}

std::uint64_t TileScratch::bytes(const RolloutJob& job, int lanes) {
  std::uint64_t sum = 0;
  TileScratch().for_each_array(job, lanes,
                               [&](const auto& v, std::size_t n) { sum += n * sizeof(v[0]); });
  return sum;
}

/// The steps of one tile, in the order of the method; `traced` ones keep what they did.
template <bool traced>
class TileRollout {
 public:
  TileRollout(const RolloutJob& job, int begin, int end, int lanes, TileScratch& s,
              const RolloutOutput& out)
      : job_(job),
        c_(*job.config),
        nx_(job.shape->nx),
        nu_(job.shape->nu),
        begin_(begin),
        count_(end - begin),
        lanes_(lanes),
        s_(s),
        out_(out) {
    if constexpr (traced) inside_.resize(static_cast<std::size_t>(lanes));
  }

  void run() {
    start();
    for (int t = 0; t < c_.horizon; ++t) {
      act(t);
      step(t);
      account(t);
    }
    act(c_.horizon);
    finish();
  }

 private:
  float* noise(int t, int i) {
    return out_.noise + (static_cast<std::size_t>(t) * nu_ + i) * lanes_;
  }
  Columns columns(AlignedFloats& v) { return {v.data(), lanes_}; }

  // x_0 = observation; J = 0
  void start() {
    int problem = begin_ / c_.rollouts, rollout = begin_ % c_.rollouts;
    runs_ = 0;
    for (int j = 0; j < lanes_; ++j) {
      if (j == 0 || problem != s_.problem[j - 1]) s_.runs[runs_++] = {j, j, problem};
      ++s_.runs[runs_ - 1].end;
      s_.problem[j] = problem;
      s_.id[j] = job_.problem_id[problem];
      s_.rollout[j] = static_cast<std::uint32_t>(rollout);
      s_.sequence[j] = hd::sequence_of(s_.rollout[j], c_.particles);
      s_.j[j] = s_.prior[j] = 0;
      s_.alive[j] = 1;
      s_.valid[j] = 1;
      if (j + 1 >= count_) continue;  // padding repeats the last lane
      if (++rollout == c_.rollouts) rollout = 0, ++problem;
    }
    for (int i = 0; i < nx_; ++i)
      for (int r = 0; r < runs_; ++r) {
        const LaneRun& run = s_.runs[r];
        float* x = s_.x.data() + static_cast<std::size_t>(i) * lanes_;
        std::fill(x + run.begin, x + run.end,
                  job_.observation[static_cast<std::size_t>(run.problem) * nx_ + i]);
      }
    for (int i = 0; i < nu_; ++i) std::fill_n(columns(s_.base)[i], lanes_, job_.neutral[i]);
  }

  // eps_t ~ N(0, Sigma), or z ~ N(0, 1) that is still to be correlated
  void draw(int t) {
    if (job_.fixed_noise) {
      const std::size_t rollout_size = static_cast<std::size_t>(c_.horizon + 1) * nu_;
      for (int i = 0; i < nu_; ++i)
        for (int j = 0; j < lanes_; ++j)
          noise(t, i)[j] = job_.fixed_noise[(static_cast<std::size_t>(s_.problem[j]) * c_.rollouts +
                                             s_.rollout[j]) *
                                                rollout_size +
                                            static_cast<std::size_t>(t) * nu_ + i];
      return;
    }
    for (int block = 0; 4 * block < nu_; ++block) {
      const NormalsKey key = {job_.key.seed, job_.key.solve,
                              hd::draw_word(hd::Stream::noise, job_.iteration, t, block),
                              s_.id.data(), s_.sequence.data()};
      kernels().normals(key, job_.sigma + 4 * block, std::min(4, nu_ - 4 * block),
                        noise(t, 4 * block), lanes_, lanes_);
    }
  }

  // v_t = n + u_t + eps_t, with a policy mu(x_t) in place of n; a_t = clip(v_t); prior sum of S
  void act(int t) {
    draw(t);
    if (job_.covariance)
      correlate(*job_.covariance, c_.prior == Prior::uniform, job_.fixed_noise != nullptr,
                job_.discount[t], noise(t, 0), s_.prior.data(), lanes_);
    const Columns base = columns(s_.base);
    if (c_.control_mode == ControlMode::policy_residual)
      job_.models.policy->evaluate(columns(s_.x), lanes_, base, s_.net.data());
    const auto act_row = c_.prior == Prior::gaussian ? act_gaussian : act_uniform;
    for (int i = 0; i < nu_; ++i) {
      const std::size_t at = static_cast<std::size_t>(t) * nu_ + i;
      if constexpr (traced) std::ranges::fill(inside_, 1u);
      act_row({.plan = job_.plan + at,
               .cost_plan = job_.cost_plan + at,
               .plan_size = static_cast<std::ptrdiff_t>(c_.horizon + 1) * nu_,
               .low = job_.low[i],
               .high = job_.high[i],
               .discount = job_.discount[t],
               .inverse_variance = job_.inverse_variance[i],
               .base = base[i],
               .eps = noise(t, i),
               .action = s_.action.data() + static_cast<std::size_t>(i) * lanes_,
               .prior = s_.prior.data(),
               .valid = traced ? inside_.data() : s_.valid.data()},
              s_.runs.data(), runs_);
      if constexpr (traced) keep_inside(t, i);
    }
    if constexpr (traced) keep_act(t);
  }

  /// Where entry [t] of a lane lies in an array [..., K, steps] of the trace.
  std::size_t entry(int lane, int steps, int t) const {
    return (job_.trace_lane + begin_ + lane) * steps + t;
  }

  void keep_inside(int t, int i) {
    for (int j = 0; j < lanes_; ++j) s_.valid[j] &= inside_[j];
    for (int j = 0; j < count_; ++j)
      job_.trace->outside[entry(j, c_.horizon + 1, t) * nu_ + i] = inside_[j] == 0;
  }

  void keep_act(int t) {
    const auto keep = [&](const AlignedFloats& from, int rows, std::vector<float>& to) {
      for (int j = 0; j < count_; ++j)
        for (int i = 0; i < rows; ++i)
          to[entry(j, c_.horizon + 1, t) * rows + i] =
              from[static_cast<std::size_t>(i) * lanes_ + j];
    };
    keep(s_.x, nx_, job_.trace->state);
    keep(s_.action, nu_, job_.trace->action);
  }

  void keep_step(int t) {
    RolloutTrace& to = *job_.trace;
    const bool one = c_.member_draw == MemberDraw::per_step;
    for (int j = 0; j < count_; ++j) {
      to.member[entry(j, c_.horizon, t)] = one ? job_.member[t] : s_.member[j];
      to.reward[entry(j, c_.horizon, t)] = s_.reward[j];
      to.end[entry(j, 1, 0)] += s_.alive[j] != 0;
    }
  }

  // x_{t+1} = x_t + f_m(x_t, a_t)
  void step(int t) {
    const DynamicsModel& model = *job_.models.dynamics;
    if (c_.member_draw == MemberDraw::per_step) {
      const StepResult out = {columns(s_.next), s_.reward.data(), s_.terminated.data()};
      const ConstColumns x = columns(s_.x), a = columns(s_.action);
      if (t == 0)
        model.first_step(job_.member[t], std::span(s_.runs).first(runs_), x, a, lanes_, out,
                         s_.net.data());
      else
        model.step(job_.member[t], x, a, lanes_, out, s_.net.data());
      return;
    }
    const int draw_step = c_.member_draw == MemberDraw::per_rollout ? 0 : t;
    assign_members(draw_step, model.members());
    for (int m = 0; m < model.members(); ++m) step_group(m);
  }

  void assign_members(int draw_step, int members) {
    int known_problem = -1;
    hd::Philox4 key{};
    for (int j = 0; j < count_; ++j) {
      if (s_.problem[j] != known_problem) {
        known_problem = s_.problem[j];
        key = hd::balanced_key(job_.key.seed, job_.key.solve, job_.iteration, draw_step, s_.id[j]);
      }
      s_.member[j] = hd::rollout_member(s_.rollout[j], static_cast<std::uint32_t>(c_.rollouts),
                                        c_.particles, members, key);
    }
  }

  /// Gathers the lanes of one member, steps them as a block and scatters the results.
  void step_group(int member) {
    int n = 0;
    for (int j = 0; j < count_; ++j)
      if (s_.member[j] == member) s_.order[n++] = j;
    if (n == 0) return;
    const int width = pad_lanes(n);
    for (int k = n; k < width; ++k) s_.order[k] = s_.order[n - 1];
    float* x = s_.grouped.data();
    float* a = x + static_cast<std::size_t>(nx_) * width;
    float* next = a + static_cast<std::size_t>(nu_) * width;
    float* reward = next + static_cast<std::size_t>(nx_) * width;
    std::uint8_t* terminated = s_.terminated.data() + lanes_;
    const auto gather = [&](const AlignedFloats& from, int rows, float* to) {
      for (int i = 0; i < rows; ++i)
        for (int k = 0; k < width; ++k)
          to[static_cast<std::size_t>(i) * width + k] =
              from[static_cast<std::size_t>(i) * lanes_ + s_.order[k]];
    };
    gather(s_.x, nx_, x);
    gather(s_.action, nu_, a);
    job_.models.dynamics->step(member, {x, width}, {a, width}, width,
                               {{next, width}, reward, terminated}, s_.net.data());
    for (int k = 0; k < n; ++k) {
      for (int i = 0; i < nx_; ++i)
        s_.next[static_cast<std::size_t>(i) * lanes_ + s_.order[k]] =
            next[static_cast<std::size_t>(i) * width + k];
      s_.reward[s_.order[k]] = reward[k];
      s_.terminated[s_.order[k]] = terminated[k];
    }
  }

  void reward() {
    const RewardModel& model = *job_.models.reward;
    const ConstColumns x = columns(s_.x), a = columns(s_.action), next = columns(s_.next);
    if (job_.parameters.empty())
      model.reward(x, a, next, count_, s_.reward.data());
    else
      model.reward_with(job_.parameters, x, a, next, count_, s_.reward.data());
  }

  void terminated() {
    const RewardModel& model = *job_.models.reward;
    if (job_.parameters.empty())
      model.terminated(columns(s_.next), count_, s_.terminated.data());
    else
      model.terminated_with(job_.parameters, columns(s_.next), count_, s_.terminated.data());
  }

  // J -= gamma^t r_t; after a terminating step nothing counts
  void account(int t) {
    const DynamicsModel& model = *job_.models.dynamics;
    if (!model.predicts_reward()) reward();
    if (c_.handle_terminations) {
      if (!model.predicts_termination()) terminated();
      const auto cost = static_cast<float>(c_.termination_cost);
      for (int j = 0; j < count_; ++j)
        s_.reward[j] = hd::charged_reward(s_.reward[j], s_.terminated[j], cost);
    }
    add_reward(job_.discount[t], s_.reward.data(), s_.alive.data(), s_.j.data(), count_);
    for (int j = 0; c_.handle_terminations && j < count_; ++j)
      if (s_.terminated[j]) s_.alive[j] = 0;
    if constexpr (traced) keep_step(t);
    std::swap(s_.x, s_.next);
  }

  // J -= gamma^H Q(x_H, a_H); S from J and the prior sum
  void finish() {
    job_.models.value->evaluate(columns(s_.x), columns(s_.action), lanes_, s_.value.data(),
                                s_.net.data());
    const float lambda = static_cast<float>(c_.temperature);
    for (int j = 0; j < count_; ++j) {
      // a select, not a product: a state that overflowed after its end must not make NaN of it
      const float q = s_.alive[j] != 0 ? s_.value[j] : 0.0f;
      const float cost = hd::subtract_reward(s_.j[j], job_.discount[c_.horizon], q);
      out_.cost[begin_ + j] =
          hd::rollout_cost(c_.prior == Prior::uniform, cost, lambda, s_.prior[j]);
      out_.valid[begin_ + j] = static_cast<std::uint8_t>(s_.valid[j]);
      if constexpr (traced) {
        job_.trace->terminal_value[entry(j, 1, 0)] = s_.value[j];
        job_.trace->prior[entry(j, 1, 0)] = s_.prior[j];
      }
    }
  }

  const RolloutJob& job_;
  const PlannerConfig& c_;
  const int nx_, nu_, begin_, count_, lanes_;
  int runs_ = 0;  // problems in the tile
  TileScratch& s_;
  const RolloutOutput& out_;
  std::vector<std::uint32_t> inside_;  // [lanes] of one action entry, for a trace
};

std::size_t make_room(RolloutTrace& trace, const PlannerConfig& c, const ProblemShape& s,
                      int problems) {
  const std::size_t first = trace.end.size(), h = c.horizon;
  const std::size_t lanes = first + static_cast<std::size_t>(problems) * c.rollouts;
  trace.state.resize(lanes * (h + 1) * s.nx);
  trace.action.resize(lanes * (h + 1) * s.nu);
  trace.outside.resize(lanes * (h + 1) * s.nu);
  trace.member.resize(lanes * h);
  trace.reward.resize(lanes * h);
  trace.end.resize(lanes);
  trace.terminal_value.resize(lanes);
  trace.prior.resize(lanes);
  return first;
}

void roll_out(const RolloutJob& job, int begin, int end, int lanes, TileScratch& scratch,
              const RolloutOutput& out) {
  if (job.trace)
    TileRollout<true>(job, begin, end, lanes, scratch, out).run();
  else
    TileRollout<false>(job, begin, end, lanes, scratch, out).run();
}

}  // namespace softmpc::cpu
