// SPDX-License-Identifier: Apache-2.0
#include "softmpc/controller.h"

#include <cmath>
#include <string>
#include <utility>

#include "control/loop.h"
#include "softmpc/error.h"

namespace softmpc {
namespace {

constexpr int kMostDelay = 64;                                  // model steps
constexpr double kShortestStep = 1e-9, kLongestStep = 864'000;  // s; times are in ns

[[noreturn]] void refuse(const std::string& option, const std::string& rule) {
  throw UsageError("controller: " + option + " " + rule);
}

void check_entries(const char* option, const std::vector<float>& values, int nu) {
  if (!values.empty() && static_cast<int>(values.size()) != nu)
    refuse(option, "has " + std::to_string(values.size()) +
                       " entries; none or nu = " + std::to_string(nu) + " are possible");
}

void check_rest(const ControllerOptions& o, const ProblemShape& s) {
  check_entries("rest", o.rest, s.nu);
  for (std::size_t i = 0; i < o.rest.size(); ++i)
    if (!std::isfinite(o.rest[i]) || o.rest[i] < s.action_low[i] || o.rest[i] > s.action_high[i])
      refuse("rest", std::to_string(o.rest[i]) + " of action " + std::to_string(i) +
                         " must lie in the bounds " + std::to_string(s.action_low[i]) + ".." +
                         std::to_string(s.action_high[i]));
  check_entries("max_rate", o.max_rate, s.nu);
  for (const float rate : o.max_rate)
    if (!(rate > 0)) refuse("max_rate", std::to_string(rate) + " must be positive");
}

void check_options(const ControllerOptions& o, const Planner& planner, double dt) {
  if (!(dt >= kShortestStep && dt <= kLongestStep))
    refuse("dt", std::to_string(dt) + " s must be positive, a nanosecond to 10 days");
  check_rest(o, planner.shape());
  if (o.min_rollouts < 0 || o.min_rollouts > planner.config().rollouts)
    refuse("min_rollouts", std::to_string(o.min_rollouts) + " is out of range 0.." +
                               std::to_string(planner.config().rollouts) + ", planner.rollouts");
  if (o.max_fallbacks < 0)
    refuse("max_fallbacks", std::to_string(o.max_fallbacks) + " must not be negative");
  if (o.max_state_age.count() < 0)
    refuse("max_state_age", std::to_string(o.max_state_age.count()) + " ns must not be negative");
  const double delay = static_cast<double>(o.command_delay.count()) * 1e-9;
  if (delay < 0 || delay > kMostDelay * dt)
    refuse("command_delay", std::to_string(delay) + " s is out of range 0.." +
                                std::to_string(kMostDelay * dt) + ", " +
                                std::to_string(kMostDelay) + " model steps");
  if (!(o.state_margin >= 0))
    refuse("state_margin", std::to_string(o.state_margin) + " must not be negative");
  if (!o.black_box.empty()) BlackBoxPlace{o.black_box};
  if (o.fallback == Fallback::callback && !o.on_fallback)
    refuse("fallback", "callback needs on_fallback");
}

std::unique_ptr<Controller::Impl> started(std::unique_ptr<Engine> engine,
                                          ControllerOptions&& options) {
  check_options(options, *engine->planner, engine->dt);
  auto impl = std::make_unique<Controller::Impl>(std::move(engine), std::move(options));
  impl->try_out();
  impl->open_black_box();
  impl->reset();
  return impl;
}

}  // namespace

Controller::Controller(const Bundle& bundle, const RewardModel* reward, ControllerOptions options)
    : impl_(started(std::make_unique<Engine>(bundle, reward, options), std::move(options))) {}

Controller::Controller(const PlannerConfig& config, const ProblemShape& shape, const Models& models,
                       double dt, ControllerOptions options)
    : impl_(started(std::make_unique<Engine>(config, shape, models, dt, options),
                    std::move(options))) {}

Controller::Controller(Controller&&) noexcept = default;
Controller& Controller::operator=(Controller&&) noexcept = default;
Controller::~Controller() = default;

std::string Controller::device() const { return impl_->device(); }
const ProblemShape& Controller::shape() const noexcept { return impl_->shape; }
double Controller::dt() const noexcept { return impl_->dt; }
const PlannerConfig& Controller::config() const noexcept { return impl_->config; }
const ControllerOptions& Controller::options() const noexcept { return impl_->options; }
std::span<const float> Controller::rest() const noexcept { return impl_->rest(); }
void Controller::reset() { impl_->reset(); }

const Plan& Controller::plan(std::span<const float> observation) {
  if (static_cast<int>(observation.size()) != impl_->shape.nx)
    throw Error("plan: the state has " + std::to_string(observation.size()) +
                " entries; this controller needs " + std::to_string(impl_->shape.nx));
  return impl_->plan_untimed(observation);
}

const Plan& Controller::plan(const PlanRequest& request) noexcept { return impl_->plan(request); }
std::size_t Controller::state_size() const noexcept { return impl_->state_size(); }
bool Controller::save_state(std::span<std::byte> to) const noexcept {
  return impl_->save_state(to);
}
bool Controller::load_state(std::span<const std::byte> from) noexcept {
  return impl_->load_state(from);
}
void Controller::swap(Prepared& prepared) noexcept { impl_->swap(prepared.impl_->engine); }
bool Controller::set_bounds(std::span<const float> low, std::span<const float> high) noexcept {
  return impl_->set_bounds(low, high);
}
bool Controller::set_parameters(std::span<const float> parameters) noexcept {
  return impl_->set_parameters(parameters);
}
std::span<const float> Controller::action_low() const noexcept { return impl_->low(); }
std::span<const float> Controller::action_high() const noexcept { return impl_->high(); }
const Statistics& Controller::statistics() const noexcept { return impl_->statistics; }
const std::string& Controller::notes() const noexcept { return impl_->notes; }
const Plan& Controller::replay(const BlackBoxRecord& record) { return impl_->replay(record); }
std::optional<Solved> Controller::solved() const noexcept { return impl_->solved(); }

}  // namespace softmpc
