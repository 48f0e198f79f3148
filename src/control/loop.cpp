// SPDX-License-Identifier: Apache-2.0
#include "control/loop.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "finite.h"
#include "planner_inputs.h"
#include "softmpc/cuda.h"
#include "softmpc/error.h"
#include "softmpc/hd/prior.h"

namespace softmpc {
namespace {

using Clock = SolveBudget::Clock;
constexpr int kCommands = 1024;  // that a delay can hold
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

int commands_kept(const ControllerOptions& options) {
  return options.command_delay.count() > 0 ? kCommands : 1;
}

/// What no computation gives again: a clock, a user's model or a device decided.
bool came_from_outside(PlanStatus status) {
  return status == PlanStatus::no_time || status == PlanStatus::user_error ||
         status == PlanStatus::device_fault;
}

}  // namespace

void ValueRange::add(double value) noexcept {
  ++count_;
  const double off = value - mean_.load(std::memory_order_relaxed);
  const double mean = mean_.load(std::memory_order_relaxed) + off / count_;
  squares_ += off * (value - mean);
  mean_.store(mean, std::memory_order_relaxed);
  if (count_ > 1) deviation_.store(std::sqrt(squares_ / (count_ - 1)), std::memory_order_relaxed);
}

bool ValueRange::holds(double value, double times) const noexcept {
  const double deviation = deviation_.load(std::memory_order_relaxed);
  return deviation < 0 ||
         std::abs(value - mean_.load(std::memory_order_relaxed)) <= times * deviation;
}

Controller::Impl::Impl(std::unique_ptr<Engine> nets, ControllerOptions given)
    : options(std::move(given)),
      shape(nets->planner->shape()),
      config(nets->planner->config()),
      dt(nets->dt),
      task(nets->task),
      reward(nets->models.reward),
      engine_(std::move(nets)),
      clock_(dt, config.horizon, options.reading),
      loop_(shape, config.horizon, commands_kept(options), parameter_count(reward)),
      spare_(loop_),
      neutral_(neutral_action(config, shape)),
      action_(shape.nu),
      asked_rest_(options.rest.empty() ? neutral_ : options.rest),
      rest_(shape.nu),
      moved_(loop_.sequence.size()),
      from_(shape.nx),
      before_(shape.nx),
      planned_(shape.nu),
      predicted_(options.want_predicted ? (config.horizon + 1) * from_.size() : 0) {
  result_.action = action_;
  result_.sequence = loop_.sequence;
  result_.bundle_hash = engine_->hash;
  follow(loop_);
}

/// Has planner and rest keep to the state's bounds and parameters; false, and nothing is changed,
/// where they are not possible.
bool Controller::Impl::follow(const LoopState& state) noexcept {
  Planner& planner = *engine_->planner;
  if (!bounds_fit(shape, state.low, state.high) ||
      !planner.set_parameters(state.given_parameters()))
    return false;
  planner.set_bounds(state.low, state.high);
  for (int i = 0; i < shape.nu; ++i)
    rest_[i] = hd::clip(asked_rest_[i], state.low[i], state.high[i]);
  return true;
}

bool Controller::Impl::set_bounds(std::span<const float> low,
                                  std::span<const float> high) noexcept {
  if (!bounds_fit(shape, low, high)) return false;
  std::ranges::copy(low, loop_.low.begin());
  std::ranges::copy(high, loop_.high.begin());
  return follow(loop_);
}

bool Controller::Impl::set_parameters(std::span<const float> parameters) noexcept {
  if (parameters.empty() || !engine_->planner->set_parameters(parameters)) return false;
  std::ranges::copy(parameters, loop_.parameters.begin());
  loop_.counts.parameters_given = 1;
  return true;
}

void Controller::Impl::try_out() {
  for (std::uint32_t k = 0; k < kProbes; ++k) {
    const ProbePlan probe = engine_->probe(options.seed, k);
    if (probe.good()) values.add(probe.value);
    if (k > 0 || probe.good()) continue;
    throw Error(std::string("controller: a plan from the middle of what training saw is ") +
                (usable(probe.status) ? "without a finite value" : to_string(probe.status)));
  }
}

void Controller::Impl::draw_plan() {
  engine_->planner->draw({options.seed, loop_.counts.episode++}, kEpisodePlan, loop_.sequence);
}

void Controller::Impl::reset() {
  draw_plan();
  loop_.time = {};
  loop_.log.clear();
  loop_.counts.time = loop_.counts.elapsed = 0;
  loop_.counts.fallbacks_in_a_row = 0;
  loop_.counts.restart = 0;
}

void Controller::Impl::solve(std::span<const float> observation, Clock::time_point deadline) {
  Plan& r = result_;
  SolveDone done;
  PlanBatch batch;
  batch.problems = 1;
  batch.observation = observation;
  batch.plan = loop_.sequence;
  batch.action = action_;
  batch.value = {&r.value, 1};
  batch.effective_samples = {&r.effective_samples, 1};
  batch.valid_share = {&r.valid_share, 1};
  batch.status = {&r.status, 1};
  batch.budget = replayed_ ? budget_of(engine_->config, {replayed_->plan.iterations_done,
                                                         replayed_->plan.rollouts_used})
                           : SolveBudget{deadline};
  batch.budget.min_rollouts = options.min_rollouts;
  batch.done = &done;
  solved_ = SolveKey{options.seed, loop_.counts.solve++};
  engine_->planner->solve(*solved_, batch);
  r.rollouts_used = done.rollouts;
  r.iterations_done = done.iterations;
}

const Plan& Controller::Impl::plan_untimed(std::span<const float> observation) {
  const Clock::time_point begin = Clock::now();
  if (black_box_)
    black_box_->begin(loop_, {.observation = observation}, false, begin, engine_->precision);
  move_to({});
  result_.predicted = {};
  result_.from_fallback = false;
  result_.disagreement = kNaN;
  std::ranges::copy(loop_.sequence, moved_.begin());
  std::ranges::copy(observation, from_.begin());
  solve(from_, no_deadline);
  loop_.log.add(loop_.counts.time + delay(), action_);
  count(begin);
  return result_;
}

const Plan& Controller::Impl::plan(const PlanRequest& asked) noexcept {
  const Clock::time_point begin = Clock::now();
  PlanRequest request = asked;
  if (options.max_state_age.count() > 0 && request.now.count() == 0)
    request.now = begin.time_since_epoch();
  if (black_box_) black_box_->begin(loop_, request, true, begin, engine_->precision);
  Plan& r = result_;
  r.value = r.disagreement = kNaN;
  r.effective_samples = r.valid_share = 0;
  r.rollouts_used = r.iterations_done = 0;
  r.predicted = {};
  r.from_fallback = false;
  solved_.reset();
  r.status = guard(request);
  move_to(within_reach(request.state_time));
  std::ranges::copy(loop_.sequence, moved_.begin());
  if (r.status == PlanStatus::ok) r.status = try_to_plan(request);
  if (usable(r.status)) {
    loop_.counts.fallbacks_in_a_row = 0;
    values.add(r.value);
  } else {
    forget_plan(r.status);
    fall_back(request.observation);
  }
  limit();
  loop_.log.add(loop_.counts.time + delay(), action_);
  count(begin);
  return r;
}

/// What can be said against an observation before it is planned from.
PlanStatus Controller::Impl::guard(const PlanRequest& request) const {
  if (static_cast<int>(request.observation.size()) != shape.nx || !all_finite(request.observation))
    return PlanStatus::bad_state;
  if (options.max_state_age.count() > 0 && request.state_time.count() != 0 &&
      within_reach(request.now) - within_reach(request.state_time) > options.max_state_age)
    return PlanStatus::stale_state;
  if (engine_->unlikely(request.observation, options.state_margin))
    return PlanStatus::unlikely_state;
  return PlanStatus::ok;
}

void Controller::Impl::move_to(Nanoseconds time) {
  const bool timed = time.count() != 0, known = loop_.time.known != 0;
  const std::int64_t step = clock_.step();
  Move move = clock_.until(time, loop_.time);
  loop_.counts.elapsed = timed && known ? time.count() - loop_.counts.time : step;
  statistics.time_backwards += loop_.counts.elapsed < 0;
  loop_.counts.time = within_reach(timed ? time : Nanoseconds(loop_.counts.time + step)).count();
  if (move.cold || loop_.counts.restart) {
    draw_plan();
    ++statistics.cold_starts;
    loop_.counts.restart = 0;
    move = {.whole = 1};  // as after reset()
  }
  move_plan(loop_.sequence, shape.nu, move);
}

/// x of the moment from which a command acts that is sent now: the mean of all members, under the
/// commands that act until then.
void Controller::Impl::look_over_delay(std::span<const float> observation) {
  std::ranges::copy(observation, from_.begin());
  const std::int64_t step = clock_.step();
  for (std::int64_t at = 0; at < delay(); at += step) {
    const std::int64_t part = std::min(step, delay() - at);
    const std::span<const float> sent = loop_.log.at(loop_.counts.time + at + part / 2);
    std::ranges::copy(from_, before_.begin());
    engine_->mean.step(*engine_->models.dynamics, from_, sent.empty() ? rest_ : sent);
    const auto share = static_cast<float>(static_cast<double>(part) / static_cast<double>(step));
    if (part < step)
      for (std::size_t i = 0; i < from_.size(); ++i)
        from_[i] = before_[i] + share * (from_[i] - before_[i]);
  }
}

PlanStatus Controller::Impl::try_to_plan(const PlanRequest& request) noexcept {
  if (replayed_ && came_from_outside(replayed_->plan.status)) {
    result_.rollouts_used = replayed_->plan.rollouts_used;
    result_.iterations_done = replayed_->plan.iterations_done;
    result_.disagreement = replayed_->plan.disagreement;
    return replayed_->plan.status;
  }
  try {
    look_over_delay(request.observation);
    solve(from_, earlier(request.deadline, afterwards_.slowest()));
    if (!usable(result_.status)) return result_.status;
    const Clock::time_point solved = Clock::now();
    if (options.want_predicted) predict();
    const PlanStatus status = judge(request.observation);
    afterwards_.add(Clock::now() - solved);
    return status;
  } catch (const cuda::DeviceLost&) {
    return PlanStatus::device_fault;
  } catch (...) {
    return engine_->planner->device() == "cpu" ? PlanStatus::user_error : PlanStatus::device_fault;
  }
}

/// x_0 .. x_H under the refined plan by the members' mean.
void Controller::Impl::predict() {
  std::ranges::copy(from_, predicted_.begin());
  const std::size_t nx = from_.size(), nu = action_.size();
  for (int t = 0; t < config.horizon; ++t) {
    for (std::size_t i = 0; i < nu; ++i)
      planned_[i] = hd::clip(neutral_[i] + loop_.sequence[t * nu + i], loop_.low[i], loop_.high[i]);
    const std::span<float> next = std::span(predicted_).subspan((t + 1) * nx, nx);
    std::ranges::copy(std::span(predicted_).subspan(t * nx, nx), next.begin());
    engine_->mean.step(*engine_->models.dynamics, next, t == 0 ? action_ : planned_);
    if (t == 0) result_.disagreement = engine_->mean.disagreement(engine_->unit);
  }
  result_.predicted = predicted_;
}

PlanStatus Controller::Impl::judge(std::span<const float> observation) {
  if (replayed_ && replayed_->plan.status == PlanStatus::rejected) return PlanStatus::rejected;
  if (!options.validate) return result_.status;
  Verdict verdict = Verdict::reject;
  try {
    verdict = options.validate(observation, result_);
  } catch (...) {  // rejected
  }
  if (verdict == Verdict::send) return result_.status;
  loop_.counts.restart = verdict == Verdict::reject_and_restart;
  return PlanStatus::rejected;
}

/// What a solve that failed or was rejected has left is no plan: that of before stands.
void Controller::Impl::forget_plan(PlanStatus status) {
  std::ranges::copy(moved_, loop_.sequence.begin());
  if (status == PlanStatus::user_error || status == PlanStatus::device_fault) {
    result_.value = kNaN;
    result_.effective_samples = result_.valid_share = 0;
    result_.predicted = {};
  }
}

void Controller::Impl::fall_back(std::span<const float> observation) {
  result_.from_fallback = true;
  ++statistics.fallbacks;
  const int most = options.max_fallbacks > 0 ? options.max_fallbacks : config.horizon;
  if (loop_.counts.fallbacks_in_a_row >= most) {
    ++statistics.rests;
    std::ranges::copy(rest_, action_.begin());
    return;
  }
  ++loop_.counts.fallbacks_in_a_row;
  switch (options.fallback) {
    case Fallback::shifted_plan:
      for (int i = 0; i < shape.nu; ++i) action_[i] = neutral_[i] + loop_.sequence[i];
      return;
    case Fallback::hold:
      std::ranges::copy(loop_.log.last().empty() ? std::span<const float>(rest_) : loop_.log.last(),
                        action_.begin());
      return;
    case Fallback::rest:
      std::ranges::copy(rest_, action_.begin());
      return;
    case Fallback::callback:
      return call_back(observation);
  }
}

void Controller::Impl::call_back(std::span<const float> observation) {
  if (replayed_) {
    std::ranges::copy(replayed_->plan.action, action_.begin());
    return;
  }
  try {
    options.on_fallback(result_.status, observation, action_);
    if (all_finite(action_)) return;
  } catch (...) {  // counted below
  }
  ++statistics.callback_errors;
  std::ranges::copy(rest_, action_.begin());
}

/// The command inside the bounds, and no faster than max_rate from the last.
void Controller::Impl::limit() {
  const std::span<const float> last = loop_.log.last();
  bool slowed = false;
  for (int i = 0; i < shape.nu; ++i) {
    action_[i] = hd::clip(action_[i], loop_.low[i], loop_.high[i]);
    if (options.max_rate.empty() || last.empty()) continue;
    const double seconds =
        static_cast<double>(std::max<std::int64_t>(loop_.counts.elapsed, 0)) * 1e-9;
    const auto most = static_cast<float>(options.max_rate[i] * seconds);
    const float within = hd::clip(action_[i], last[i] - most, last[i] + most);
    slowed |= within != action_[i];
    action_[i] = hd::clip(within, loop_.low[i], loop_.high[i]);
  }
  statistics.rate_limited += slowed;
}

void Controller::Impl::count(Clock::time_point begin) {
  Plan& r = result_;
  ++statistics.plans;
  ++statistics.by_status[static_cast<std::size_t>(r.status)];
  bool clipped = false;
  const bool planned = !r.from_fallback && config.control_mode != ControlMode::policy_residual;
  for (int i = 0; i < shape.nu && planned; ++i) {
    const float action = neutral_[i] + loop_.sequence[i];
    clipped |= action < loop_.low[i] || action > loop_.high[i];
  }
  statistics.clipped += clipped;
  r.index = loop_.counts.index++;
  r.duration = Clock::now() - begin;
  statistics.latency.add(r.duration);
  if (black_box_) black_box_->finish(r);
}

std::size_t Controller::Impl::state_size() const noexcept { return loop_.bytes(); }

bool Controller::Impl::save_state(std::span<std::byte> to) const noexcept {
  if (to.size() != loop_.bytes()) return false;
  loop_.save(to);
  return true;
}

bool Controller::Impl::load_state(std::span<const std::byte> from) noexcept {
  if (!spare_.load(from) || !follow(spare_)) return false;
  std::swap(loop_, spare_);
  result_.sequence = loop_.sequence;
  return true;
}

void Controller::Impl::swap(std::unique_ptr<Engine>& other) noexcept {
  std::swap(engine_, other);
  follow(loop_);
  result_.bundle_hash = engine_->hash;
  if (black_box_) black_box_->flies(engine_->hash);
  ++statistics.swaps;
}

}  // namespace softmpc
