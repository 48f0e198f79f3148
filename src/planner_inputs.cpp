// SPDX-License-Identifier: Apache-2.0
#include "planner_inputs.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <numbers>
#include <string>

#include "finite.h"
#include "softmpc/error.h"
#include "softmpc/hd/philox.h"
#include "softmpc/hd/prior.h"

namespace softmpc {
namespace {

[[noreturn]] void refuse(const std::string& text) { throw Error("planner solve: " + text); }

/// A literal: a solve that is checked makes no string.
void require(bool ok, const char* rule) {
  if (!ok) refuse(rule);
}

std::size_t plan_floats(const PlannerConfig& c, const ProblemShape& s) {
  return static_cast<std::size_t>(c.horizon + 1) * s.nu;
}

void check_plan(std::span<const float> plan, std::size_t size) {
  if (plan.size() != size)
    throw Error("planner: a plan has " + std::to_string(plan.size()) +
                " entries; (H+1) nu = " + std::to_string(size) + " are needed");
}

std::string number(float x) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", static_cast<double>(x));
  return text;
}

/// Entry i of a setting that has one value for all actions or one for each.
double entry(const std::vector<double>& setting, int i) {
  return setting[setting.size() == 1 ? 0 : static_cast<std::size_t>(i)];
}

/// What is wrong with the bounds and the neutral action of action i, or nothing.
std::string action_fault(const PlannerConfig& c, int i, float low, float high) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::string box =
      "action " + std::to_string(i) + " has the bounds " + number(low) + ".." + number(high);
  if (!(low <= high) || low == kInfinity || high == -kInfinity)
    return box + "; low must be at most high";
  if (!std::isfinite(low) || !std::isfinite(high)) {
    if (c.prior == Prior::uniform)
      return box + "; planner.prior uniform needs finite ones, gaussian does not";
    if (plans_with_policy(c))
      return box + "; planner." + policy_use(c) +
             " needs finite ones, which a policy's output is scaled to";
  }
  if (c.neutral.empty()) return {};
  const float n = static_cast<float>(entry(c.neutral, i));
  if (n >= low && n <= high && std::isfinite(n)) return {};
  return box + "; planner.neutral " + number(n) + " must lie in them";
}

float automatic_neutral(float low, float high) {
  if (low < 0 && high > 0) return 0;
  if (!std::isfinite(high)) return low;
  if (!std::isfinite(low)) return high;
  return low + 0.5f * (high - low);
}

/// Lanes of a solve are counted in an int, padding included.
constexpr std::size_t kMostLanes = 1u << 30;

void check_limit(const char* name, int value, int most) {
  if (value < 0 || value > most)
    refuse(std::string("budget.") + name + " " + std::to_string(value) + " must be in 0.." +
           std::to_string(most));
}

void check_budget(const PlannerConfig& c, const SolveBudget& budget) {
  check_limit("min_rollouts", budget.min_rollouts, c.rollouts);
  check_limit("iterations", budget.iterations, c.iterations);
  check_limit("rollouts", budget.rollouts, c.rollouts);
  const int whole = c.particles * (c.proposals == Proposals::plan ? 1 : 2);
  if (budget.rollouts % whole != 0)
    refuse("budget.rollouts " + std::to_string(budget.rollouts) + " must be a multiple of " +
           std::to_string(whole) + ", whole action sequences of each half");
  require(!has_deadline(budget) || (budget.iterations == 0 && budget.rollouts == 0),
          "budget.deadline stands alone, without limits of iterations or rollouts");
}

}  // namespace

std::string policy_use(const PlannerConfig& config) {
  return config.proposals == Proposals::plan ? "control_mode policy_residual"
                                             : "proposals plan_and_policy";
}

void check_shape(const PlannerConfig& c, const ProblemShape& s) {
  const auto fail = [](const std::string& text) { throw UsageError("planner: " + text); };
  if (s.nx < 1 || s.nu < 1 || s.nu > hd::kMaxActionSize)
    fail("nx " + std::to_string(s.nx) + ", nu " + std::to_string(s.nu) +
         " must be positive, nu at most " + std::to_string(hd::kMaxActionSize));
  if (s.max_problems < 1) fail("max_problems must be positive");
  if (c.neutral.size() > 1 && static_cast<int>(c.neutral.size()) != s.nu)
    fail("neutral has " + std::to_string(c.neutral.size()) +
         " entries; 1 or nu = " + std::to_string(s.nu) + " are possible");
  if (static_cast<int>(s.action_low.size()) != s.nu ||
      static_cast<int>(s.action_high.size()) != s.nu)
    fail("bounds must have nu = " + std::to_string(s.nu) + " entries");
  for (int i = 0; i < s.nu; ++i)
    if (const std::string fault = action_fault(c, i, s.action_low[i], s.action_high[i]);
        !fault.empty())
      fail(fault);
  if (c.rollouts < 1 || c.horizon < 1 || c.horizon > hd::kMaxHorizon || c.iterations < 1 ||
      c.iterations > hd::kMaxIterations)
    fail("rollouts, horizon (at most " + std::to_string(hd::kMaxHorizon) +
         ") and iterations (at most " + std::to_string(hd::kMaxIterations) + ") must be positive");
  if (c.particles < 1 || c.rollouts % c.particles != 0)
    fail("particles " + std::to_string(c.particles) + " must divide rollouts, " +
         std::to_string(c.rollouts));
  if (c.proposals != Proposals::plan && c.control_mode == ControlMode::policy_residual)
    fail("proposals plan_and_policy does not fit control_mode policy_residual");
  if (c.proposals != Proposals::plan && c.rollouts % (2 * c.particles) != 0)
    fail("rollouts, " + std::to_string(c.rollouts) +
         ", must have two equal halves of whole particles with proposals plan_and_policy");
  if (c.particles > 1 && c.member_draw == MemberDraw::per_step)
    fail("particles " + std::to_string(c.particles) +
         " need member_draw per_rollout or per_rollout_step");
  if (!(c.temperature > 0) || !std::isfinite(c.temperature) || !(c.gamma > 0) || c.gamma > 1)
    fail("temperature must be positive and finite, gamma in (0, 1]");
  if (c.variance.size() != 1 && static_cast<int>(c.variance.size()) != s.nu)
    fail("variance has " + std::to_string(c.variance.size()) +
         " entries; 1 or nu = " + std::to_string(s.nu) + " are possible");
  for (double v : c.variance)
    if (!(v > 0) || !std::isfinite(v)) fail("variance must be positive");
  if (const std::string fault = covariance_fault(c, s); !fault.empty()) fail(fault);
  const std::size_t lanes = static_cast<std::size_t>(s.max_problems) * c.rollouts;
  if (lanes > kMostLanes)
    fail("max_problems times rollouts is " + std::to_string(lanes) + ", at most " +
         std::to_string(kMostLanes) + " are possible");
}

void check_batch(const PlannerConfig& config, const ProblemShape& shape, const PlanBatch& batch) {
  const std::size_t b = batch.problems;
  require(batch.problems >= 1 && batch.problems <= shape.max_problems,
          "problems must be in 1..max_problems");
  require(batch.observation.size() == b * shape.nx, "observation must be [B, nx]");
  require(batch.plan.size() == b * plan_floats(config, shape), "plan must be [B, H+1, nu]");
  require(batch.problem_id.empty() || batch.problem_id.size() == b, "problem_id must be [B]");
  require(batch.value.size() == b, "value must be [B]");
  require(batch.action.empty() || batch.action.size() == b * shape.nu, "action must be [B, nu]");
  require(batch.effective_samples.empty() || batch.effective_samples.size() == b,
          "effective_samples must be [B]");
  require(batch.valid_share.empty() || batch.valid_share.size() == b, "valid_share must be [B]");
  require(batch.status.empty() || batch.status.size() == b, "status must be [B]");
  check_budget(config, batch.budget);
}

void check_trace(const PlannerConfig& config, const ProblemShape& shape, const PlanBatch& batch,
                 const PlanTrace& trace, int members) {
  require(!has_deadline(batch.budget), "a trace is of a solve without a deadline");
  const std::size_t iterations = config.iterations, rollouts = config.rollouts;
  const std::size_t noise_size =
      iterations * batch.problems * rollouts * plan_floats(config, shape);
  require(trace.noise.empty() || trace.noise.size() == noise_size,
          "noise must be [iterations, B, K, H+1, nu]");
  require(trace.member.empty() || trace.member.size() == iterations * config.horizon,
          "member must be [iterations, H]");
  for (int m : trace.member)
    if (m < 0 || m >= members)
      throw Error("planner solve: member " + std::to_string(m) + " is not one of " +
                  std::to_string(members));
}

void check_models(const PlannerConfig& config, const GivenModels& given) {
  require(given.dynamics_and_value, "dynamics and value must be given");
  if (config.particles > given.members)
    throw UsageError("planner.particles: " + std::to_string(config.particles) +
                     " are more than the models, of which each takes one of its own: " +
                     std::to_string(given.members));
  require(given.analytic_reward || given.learned_reward, "a reward must be given or learned");
  if (plans_with_policy(config) && !given.policy) refuse(policy_use(config) + " needs a policy");
  require(!config.handle_terminations || given.termination,
          "handle_terminations needs a termination function, analytic or learned");
}

bool has_deadline(const SolveBudget& budget) {
  return budget.deadline != SolveBudget::Clock::time_point::max();
}

SolveBudget::Clock::time_point earlier(SolveBudget::Clock::time_point deadline,
                                       SolveBudget::Clock::duration by) {
  using Time = SolveBudget::Clock::time_point;
  return deadline == Time::max() ? deadline : std::max(deadline, Time{}) - by;
}

SolveDone whole_solve(const PlannerConfig& config) { return {config.iterations, config.rollouts}; }

SolveDone part_of(const PlannerConfig& config, const SolveBudget& budget) {
  return {budget.iterations > 0 ? budget.iterations : config.iterations,
          budget.rollouts > 0 ? budget.rollouts : config.rollouts};
}

SolveBudget budget_of(const PlannerConfig& config, const SolveDone& done) {
  SolveBudget budget;
  if (done == whole_solve(config)) return budget;
  budget.iterations = done.iterations;
  budget.rollouts = done.rollouts;
  return budget;
}

int fewest_rollouts(const PlannerConfig& config, const SolveBudget& budget) {
  const int quarter = (config.rollouts + 3) / 4;
  return std::max(budget.min_rollouts > 0 ? budget.min_rollouts : quarter, config.particles);
}

bool bounds_fit(const ProblemShape& shape, std::span<const float> low,
                std::span<const float> high) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::size_t nu = shape.action_low.size();
  if (low.size() != nu || high.size() != nu) return false;
  for (std::size_t i = 0; i < nu; ++i) {
    const bool inside = low[i] >= shape.action_low[i] && high[i] <= shape.action_high[i];
    if (!inside || !(low[i] <= high[i]) || low[i] == kInfinity || high[i] == -kInfinity)
      return false;
  }
  return true;
}

int parameter_count(const RewardModel* reward) { return reward ? reward->parameter_count() : 0; }

bool take_parameters(const RewardModel* reward, std::span<const float> parameters,
                     std::vector<float>& to) noexcept {
  const bool fit = parameters.size() == static_cast<std::size_t>(parameter_count(reward)) &&
                   all_finite(parameters);
  if (!parameters.empty() && !fit) return false;
  to.assign(parameters.begin(), parameters.end());
  return true;
}

void hand_out_no_time(const PlannerConstants& constants, const PlanBatch& batch) {
  std::ranges::fill(batch.value, std::numeric_limits<double>::quiet_NaN());
  std::ranges::fill(batch.effective_samples, 0.0);
  std::ranges::fill(batch.valid_share, 0.0);
  std::ranges::fill(batch.status, PlanStatus::no_time);
  if (batch.done) *batch.done = {};
  const std::size_t nu = constants.neutral.size();
  const std::size_t plan_size = batch.plan.size() / batch.problems;
  for (std::size_t at = 0; at < batch.action.size(); ++at) {
    const std::size_t i = at % nu;
    batch.action[at] = hd::clip(constants.neutral[i] + batch.plan[at / nu * plan_size + i],
                                constants.low[i], constants.high[i]);
  }
}

std::vector<float> neutral_action(const PlannerConfig& config, const ProblemShape& shape) {
  std::vector<float> neutral;
  for (int i = 0; i < shape.nu; ++i) {
    const float low = shape.action_low[i], high = shape.action_high[i];
    neutral.push_back(config.neutral.empty() ? automatic_neutral(low, high)
                                             : static_cast<float>(entry(config.neutral, i)));
  }
  return neutral;
}

PlannerConstants::PlannerConstants(const PlannerConfig& config, const ProblemShape& shape)
    : sigma(shape.nu),
      inverse_variance(shape.nu),
      low(shape.nu),
      high(shape.nu),
      covariance(config, shape),
      neutral(neutral_action(config, shape)) {
  double power = 1, sum = 0;
  for (int t = 0; t <= config.horizon; ++t, power *= config.gamma) {
    discount.push_back(static_cast<float>(power));
    sum += power;
  }
  charge_sum = config.temperature * sum;
  set_bounds(config, shape.action_low, shape.action_high);
}

void PlannerConstants::set_bounds(const PlannerConfig& config, std::span<const float> lowest,
                                  std::span<const float> highest) {
  std::ranges::copy(lowest, low.begin());
  std::ranges::copy(highest, high.begin());
  const bool diagonal = config.covariance.empty();
  double sum = 0;
  for (std::size_t i = 0; i < sigma.size(); ++i) {
    const double variance = diagonal ? entry(config.variance, static_cast<int>(i)) : 1;  // of z
    const bool fixed = low[i] == high[i];  // nothing to draw, to charge for or to measure
    // a fixed one's eps of a full covariance follows from the z of those before it
    const bool charged = diagonal ? !fixed : config.prior == Prior::gaussian;
    sigma[i] = fixed ? 0.0f : static_cast<float>(std::sqrt(variance));
    inverse_variance[i] = charged ? static_cast<float>(1 / variance) : 0.0f;
    if (!fixed)
      sum += std::log(static_cast<double>(high[i]) - low[i]) -
             0.5 * std::log(2 * std::numbers::pi * variance) - covariance.log_deviation(i);
  }
  uniform = charge_sum * sum;
}

void shift_plan(int nu, std::span<float> plan, std::size_t size) {
  check_plan(plan, size);
  std::copy(plan.begin() + nu, plan.end(), plan.begin());
  std::fill(plan.end() - nu, plan.end(), 0.0f);
}

void draw_plan(const PlannerConstants& constants, SolveKey key, std::uint32_t problem,
               std::span<float> plan, std::size_t size) {
  check_plan(plan, size);
  const int nu = static_cast<int>(constants.sigma.size());
  for (int t = 0; t < static_cast<int>(constants.discount.size()); ++t) {
    float* u = plan.data() + static_cast<std::size_t>(t) * nu;
    for (int i = 0; i < nu; i += 4) {
      float n[4];
      hd::normal_block(key.seed, key.solve, hd::draw_word(hd::Stream::plan, 0, t, i / 4), problem,
                       0, n);
      for (int j = 0; j < std::min(4, nu - i); ++j) u[i + j] = constants.sigma[i + j] * n[j];
    }
    if (constants.covariance.full()) hd::correlate<float>(constants.covariance.view(nu), u);
  }
}

}  // namespace softmpc
