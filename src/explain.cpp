// SPDX-License-Identifier: Apache-2.0
#include "explain.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>

#include "cpu/update.h"
#include "planner_inputs.h"
#include "proposing_planner.h"
#include "softmpc/error.h"
#include "softmpc/hd/prior.h"

namespace softmpc {
namespace {

constexpr double kRounding = 2e-5;  // of float32 sums over a horizon, in units of their terms

/// Two numbers that are sums of terms of magnitude `terms`; of not finite ones all are alike.
void compare(double a, double b, double terms, ExplainedCheck& check) {
  if (!std::isfinite(a) && !std::isfinite(b)) return;
  const double off = std::abs(a - b);
  const double difference = std::isfinite(off) ? off : std::numeric_limits<double>::infinity();
  check.difference = std::max(check.difference, difference);
  check.of_rounding = std::max(check.of_rounding, difference / (kRounding * (1 + terms)));
}

/// Takes a traced solve apart. All arrays are of problems 0..parts-1 of `config`.
class Explainer {
 public:
  Explainer(const PlannerConfig& config, const ProblemShape& shape, Explanation& e)
      : config_(config.proposals == Proposals::plan ? config : part_of_solve(config)),
        shape_(shape),
        constants_(config_, shape),
        parts_(config.proposals == Proposals::plan ? 1 : 2),
        e_(e) {}

  void run() {
    e_.parts.assign(parts_, {});
    e_.rollouts.clear();
    e_.cost_check = e_.value_check = {};
    e_.weight_sum = 0;
    for (int i = 0; i < e_.done.iterations; ++i)
      for (std::size_t part = 0; part < parts_; ++part) explain_update(i, part);
    if (e_.done.iterations > 0) join();
    for (const ExplainedRollout& r : e_.rollouts) e_.weight_sum += r.weight;
  }

 private:
  bool last(int iteration) const { return iteration + 1 == e_.done.iterations; }
  std::size_t row(int iteration, std::size_t part) const { return iteration * parts_ + part; }
  /// Entries [row] of an array of rows of `size`.
  template <class T>
  static std::span<const T> at(const std::vector<T>& array, std::size_t row, std::size_t size) {
    return std::span(array).subspan(row * size, size);
  }

  void explain_update(int iteration, std::size_t part) {
    const std::size_t k = config_.rollouts, r = row(iteration, part);
    const int rolled =
        last(iteration) ? e_.done.rollouts / static_cast<int>(parts_) : config_.rollouts;
    std::vector<ExplainedRollout> rollouts(k);
    std::vector<double> terms(k);
    for (int i = 0; i < config_.rollouts; ++i) {
      rollouts[i].part = static_cast<int>(part);
      rollouts[i].rollout = i;
      if (i < rolled) terms[i] = take_apart(r * k + i, rollouts[i]);
    }
    const auto weighed = weigh(r, std::span(rollouts).first(rolled), terms);
    const std::size_t plan = static_cast<std::size_t>(config_.horizon + 1) * shape_.nu;
    e_.parts[part].iterations.push_back({weighed.value, weighed.effective_samples,
                                         weighed.valid_share, weighed.status, rolled,
                                         at(e_.kept.plan, r, plan), at(e_.trace.plan, r, plan)});
    typical_[part] = 0;
    for (int i = 0; i < rolled; ++i)
      if (rollouts[i].weight > 0) typical_[part] += rollouts[i].weight * terms[i];
    compare(weighed.value, e_.trace.value[r], typical_[part], e_.value_check);
    if (last(iteration)) e_.rollouts.insert(e_.rollouts.end(), rollouts.begin(), rollouts.end());
  }

  /// All of a rollout but its weight and fate; returns the magnitude of what S is the sum of.
  double take_apart(std::size_t lane, ExplainedRollout& out) {
    const std::size_t h = config_.horizon, nx = shape_.nx, nu = shape_.nu;
    const RolloutTrace& kept = e_.kept;
    out.state = at(kept.state, lane, (h + 1) * nx);
    out.action = at(kept.action, lane, (h + 1) * nu);
    out.reward = at(kept.reward, lane, h);
    out.member = at(kept.member, lane, h);
    out.end = kept.end[lane];
    const bool alive = out.end == config_.horizon;
    out.terminal_value = alive ? kept.terminal_value[lane] : 0.0f;
    float j = 0;
    double terms = 0;
    const auto add = [&](std::size_t t, float reward) {
      j = hd::subtract_reward(j, constants_.discount[t], reward);
      terms += std::abs(static_cast<double>(constants_.discount[t]) * reward);
    };
    for (std::size_t t = 0; t < h && static_cast<int>(t) <= out.end; ++t) add(t, out.reward[t]);
    add(h, out.terminal_value);
    const bool uniform = config_.prior == Prior::uniform;
    const auto lambda = static_cast<float>(config_.temperature);
    out.gain = -j;
    out.prior_term = hd::rollout_cost(uniform, 0.0f, lambda, kept.prior[lane]);
    out.cost = hd::rollout_cost(uniform, j, lambda, kept.prior[lane]);
    const auto outside = at(kept.outside, lane, (h + 1) * nu);
    out.clipped =
        static_cast<double>(std::ranges::count(outside, 1)) / static_cast<double>(outside.size());
    const auto first = std::ranges::find(outside, 1);
    if (first != outside.end())
      out.first_outside = static_cast<int>((first - outside.begin()) / shape_.nu);
    return terms + std::abs(out.prior_term);
  }

  /// Fates and weights, the latter of a part's rollouts in units of hd::weight.
  cpu::Weighed weigh(std::size_t r, std::span<ExplainedRollout> rollouts,
                     std::span<const double> terms) {
    std::vector<float> cost, weight(rollouts.size());
    std::vector<std::uint8_t> valid;
    for (const ExplainedRollout& one : rollouts) {
      cost.push_back(one.cost);
      valid.push_back(one.first_outside < 0);
    }
    if (config_.particles > 1) cpu::average_particles(config_.particles, cost, valid);
    const cpu::UpdateInput in = {
        .rollouts = static_cast<int>(rollouts.size()),
        .particles = config_.particles,
        .horizon = config_.horizon,
        .nu = shape_.nu,
        .cost = cost,
        .valid = valid,
        .uniform = config_.prior == Prior::uniform,
        .temperature = config_.temperature,
        .value_constant = e_.kept.value_constant[r],
        .noise = nullptr,
        .tiling = nullptr,
        .first_lane = 0,
    };
    const cpu::Weighed weighed = cpu::weigh(in, weight);
    const bool masked = in.uniform && weighed.status == PlanStatus::ok;
    for (std::size_t k = 0; k < rollouts.size(); ++k) {
      ExplainedRollout& one = rollouts[k];
      one.sequence_cost = cost[k];
      one.weight = weighed.weight_sum > 0 ? weight[k] / weighed.weight_sum : 0;
      one.fate = fate(one, masked && !valid[k]);
      compare(cost[k], e_.trace.cost[r * config_.rollouts + k], sequence_mean(terms, k),
              e_.cost_check);
    }
    return weighed;
  }

  double sequence_mean(std::span<const double> terms, std::size_t k) const {
    const std::size_t particles = config_.particles;
    const auto sequence = terms.subspan(k - k % particles, particles);
    return std::accumulate(sequence.begin(), sequence.end(), 0.0) / config_.particles;
  }

  static RolloutFate fate(const ExplainedRollout& r, bool left_out) {
    if (!std::isfinite(r.sequence_cost)) return RolloutFate::not_finite;
    if (!left_out) return RolloutFate::counts;
    return r.first_outside >= 0 ? RolloutFate::left_box : RolloutFate::other_left_box;
  }

  /// The parts' last updates as one solve: shares, value and all weights.
  void join() {
    double value = e_.parts[0].iterations.back().value;
    double typical = typical_[0];
    e_.parts[0].share = e_.parts[0].iterations.back().status == PlanStatus::not_finite ? 0 : 1;
    if (parts_ == 2) {
      const ExplainedIteration &a = e_.parts[0].iterations.back(),
                               &b = e_.parts[1].iterations.back();
      const hd::Merged m =
          hd::merge_solves({a.value, b.value}, {a.effective_samples, b.effective_samples},
                           {a.valid_share == 0, b.valid_share == 0}, config_.temperature);
      value = m.value;
      for (int i = 0; i < 2; ++i) e_.parts[i].share = m.weight[i];
      typical = std::max(typical_[0], typical_[1]);
      for (ExplainedRollout& r : e_.rollouts) r.weight *= m.weight[r.part];
    }
    compare(value, e_.value, typical, e_.value_check);
  }

  const PlannerConfig config_;  // of a part
  const ProblemShape& shape_;
  const PlannerConstants constants_;
  const std::size_t parts_;
  Explanation& e_;
  double typical_[2] = {0, 0};  // magnitude of the terms of S, by weight, in a part's last update
};

}  // namespace

ExplainInput explain_input(const Solved& solved) {
  return {.key = solved.key,
          .observation = solved.observation,
          .plan = solved.plan,
          .done = solved.done,
          .low = solved.low,
          .high = solved.high,
          .parameters = solved.parameters};
}

const char* to_string(RolloutFate fate) {
  switch (fate) {
    case RolloutFate::counts:
      return "counts";
    case RolloutFate::left_box:
      return "left the bounds";
    case RolloutFate::other_left_box:
      return "another particle left the bounds";
    case RolloutFate::not_finite:
      return "not finite";
    case RolloutFate::not_started:
      return "not started in time";
  }
  return "?";
}

bool Explanation::agrees() const {
  const bool weighed = std::ranges::any_of(parts, [](const auto& p) { return p.share > 0; });
  return cost_check.of_rounding <= 1 && value_check.of_rounding <= 1 &&
         std::abs(weight_sum - (weighed ? 1 : 0)) <= 1e-6;
}

void explain_trace(const PlannerConfig& config, const ProblemShape& shape, Explanation& e) {
  Explainer(config, shape, e).run();
}

Explanation explain(const PlannerConfig& config, const ProblemShape& shape, const Models& models,
                    const ExplainInput& input) {
  ProblemShape one = shape;
  one.max_problems = 1;
  Explanation e;
  e.plan.assign(input.plan.begin(), input.plan.end());
  e.refined = e.plan;
  e.action.resize(static_cast<std::size_t>(shape.nu));
  PlanBatch batch;
  batch.problems = 1;
  batch.observation = input.observation;
  batch.problem_id = {&input.problem_id, 1};
  batch.plan = e.refined;
  batch.action = e.action;
  batch.value = {&e.value, 1};
  batch.effective_samples = {&e.effective_samples, 1};
  batch.valid_share = {&e.valid_share, 1};
  batch.status = {&e.status, 1};
  batch.budget = budget_of(config, input.done);
  batch.done = &e.done;
  e.trace.rollouts = &e.kept;
  const auto planner = make_planner(config, one, models);
  if (!input.low.empty() && !planner->set_bounds(input.low, input.high))
    throw Error("explain: bounds outside the box of the planner");
  if (!planner->set_parameters(input.parameters))
    throw Error("explain: " + std::to_string(input.parameters.size()) +
                " parameters, which the reward does not take");
  planner->solve(input.key, batch, &e.trace);
  e.trace.rollouts = nullptr;
  if (e.status != PlanStatus::bad_state) explain_trace(config, one, e);
  return e;
}

}  // namespace softmpc
