// SPDX-License-Identifier: Apache-2.0
// A plan, from C to the controller and back, and the callbacks on the way.
#include "handle.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <span>
#include <string>

#include "io/atomic_file.h"
#include "options.h"

namespace softmpc::c {
namespace {

constexpr std::int64_t kFarthest = std::int64_t{1} << 61;  // ns; differences do not overflow

/// The plan's numbers; arrays are apart.
void fill(const Plan& plan, softmpc_plan_out& out) noexcept {
  out.status = static_cast<softmpc_status>(plan.status);
  out.from_fallback = plan.from_fallback;
  out.rollouts_used = plan.rollouts_used;
  out.iterations_done = plan.iterations_done;
  out.value = plan.value;
  out.effective_samples = plan.effective_samples;
  out.valid_share = plan.valid_share;
  out.disagreement = plan.disagreement;
  out.duration_ns = plan.duration.count();
  out.index = plan.index;
  out.bundle_hash = plan.bundle_hash;
}

/// The struct's pointers are for writing, but whom it is shown to has it as const.
float* shown(std::span<const float> values) noexcept {
  return values.empty() ? nullptr : const_cast<float*>(values.data());
}

Verdict ask(const softmpc_options& given, std::span<const float> state, const Plan& plan) {
  softmpc_plan_out out = {};
  out.size = sizeof out;
  fill(plan, out);
  out.action = shown(plan.action);
  out.sequence = shown(plan.sequence);
  out.predicted = shown(plan.predicted);
  out.duration_ns = 0;  // of the plan before
  out.index = 0;
  switch (call(given.validate, given.user, state.data(), &out)) {
    case SOFTMPC_SEND:
      return Verdict::send;
    case SOFTMPC_REJECT_AND_RESTART:
      return Verdict::reject_and_restart;
    default:
      return Verdict::reject;
  }
}

/// `given` and `models` outlive the controller.
ControllerOptions all_options(const softmpc_options& given, const UserModels& models, int nx,
                              int nu) {
  ControllerOptions options = controller_options(given, nu);
  options.dynamics = models.dynamics.get();
  options.value = models.value.get();
  if (given.validate != nullptr)
    options.validate = [&given](std::span<const float> state, const Plan& plan) {
      return ask(given, state, plan);
    };
  if (given.on_fallback != nullptr)
    options.on_fallback = [&given, nx](PlanStatus why, std::span<const float> state,
                                       std::span<float> action) {
      const bool whole = state.size() == static_cast<std::size_t>(nx);
      check(call(given.on_fallback, given.user, static_cast<softmpc_status>(why),
                 whole ? state.data() : nullptr, action.data()),
            "on_fallback");
    };
  return options;
}

SolveBudget::Clock::time_point deadline_of(std::int64_t ns) noexcept {
  if (ns == 0 || ns > kFarthest) return no_deadline;
  return SolveBudget::Clock::time_point(Nanoseconds(std::max<std::int64_t>(ns, 1)));
}

}  // namespace

Bundle read_bundle(const char* path) {
  const std::string bytes = or_fail(SOFTMPC_ERROR_FILE, [&] { return read_file(path); });
  return or_fail(SOFTMPC_ERROR_FORMAT,
                 [&] { return load_bundle(std::as_bytes(std::span(bytes)), path); });
}

void fill_statistics(const Statistics& s, softmpc_statistics& out) noexcept {
  const auto percentile = [&s](double share) { return s.latency.percentile(share).count(); };
  static_assert(kPlanStatuses <= std::size(softmpc_statistics{}.by_status));
  out.plans = s.plans;
  std::ranges::copy(s.by_status, out.by_status);
  out.fallbacks = s.fallbacks;
  out.rests = s.rests;
  out.callback_errors = s.callback_errors;
  out.clipped = s.clipped;
  out.rate_limited = s.rate_limited;
  out.time_backwards = s.time_backwards;
  out.cold_starts = s.cold_starts;
  out.swaps = s.swaps;
  out.p50_ns = percentile(0.5);
  out.p90_ns = percentile(0.9);
  out.p99_ns = percentile(0.99);
  out.p999_ns = percentile(0.999);
  out.max_ns = s.latency.longest().count();
}

NetSizes net_sizes(const softmpc_options& given, const Bundle& bundle) {
  return {bundle.planner.rollouts, given.step != nullptr ? 1 : bundle.members.stack};
}

}  // namespace softmpc::c

softmpc_controller::softmpc_controller(const softmpc_options& given, const softmpc::Bundle& bundle)
    : options(given),
      models(given, bundle),
      controller(bundle, models.reward.get(),
                 softmpc::c::all_options(options, models, bundle.nx, bundle.nu)),
      sizes(softmpc::c::net_sizes(given, bundle)),
      identity(std::make_shared<const char>()),
      horizon_(bundle.planner.horizon) {
  options.rest = options.max_rate = nullptr;
  options.device = nullptr;
}

void softmpc_controller::plan(const softmpc_request& request, softmpc_plan_out& out) noexcept {
  const auto nx = static_cast<std::size_t>(controller.shape().nx);
  const softmpc::Plan& plan = controller.plan(
      {.observation = {request.state, request.state_count == 0 ? nx : request.state_count},
       .state_time = softmpc::Nanoseconds(request.state_time_ns),
       .deadline = softmpc::c::deadline_of(request.deadline_ns),
       .now = softmpc::Nanoseconds(request.now_ns)});
  softmpc::c::fill(plan, out);
  std::ranges::copy(plan.action, out.action);
  if (out.sequence != nullptr) std::ranges::copy(plan.sequence, out.sequence);
  if (out.predicted == nullptr) return;
  if (plan.predicted.empty())
    std::fill_n(out.predicted, (horizon_ + 1) * nx, std::numeric_limits<float>::quiet_NaN());
  else
    std::ranges::copy(plan.predicted, out.predicted);
}
