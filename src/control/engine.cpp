// SPDX-License-Identifier: Apache-2.0
#include "control/engine.h"

#include <algorithm>
#include <cmath>

#include "cpu/aligned.h"
#include "cpu/kernels.h"
#include "finite.h"
#include "softmpc/error.h"

namespace softmpc {
namespace {

ProblemShape shape_of(const Bundle& bundle) {
  return {bundle.nx, bundle.nu, bundle.action_low, bundle.action_high, 1};
}

/// A device's operands come from the planner's settings; the CPU measures what `auto` means.
Precision member_precision(const Bundle& bundle, Precision wanted, Device device) {
  const bool for_a_device = device != Device::cpu && wanted == Precision::float16;
  if (device == Device::cuda || for_a_device) return Precision::float32;
  return resolve_precision(wanted, bundle.members.spec);
}

PlannerConfig chosen(PlannerConfig config, const ControllerOptions& options) {
  config.precision = options.precision.value_or(config.precision);
  return config;
}

std::unique_ptr<MlpDynamics> learned_dynamics(const Bundle& bundle, Precision precision,
                                              const ControllerOptions& options) {
  if (options.dynamics) return nullptr;
  if (bundle.members.stack == 0)
    throw Error(
        "controller: this bundle has no members, it was trained with dynamics of its own "
        "(model.source=environment); ControllerOptions::dynamics must give them");
  return std::make_unique<MlpDynamics>(bundle.members, bundle.nx, bundle.nu, bundle.outputs,
                                       precision);
}

std::unique_ptr<MlpPolicy> policy_of(const Bundle& bundle) {
  if (!bundle.policy) return nullptr;
  if (bundle.policy->inputs() != bundle.nx)
    throw Error("policy: inputs do not fit nx " + std::to_string(bundle.nx));
  return std::make_unique<MlpPolicy>(*bundle.policy, bundle.action_low, bundle.action_high);
}

/// Null where no plan asks the policy: a device needs no form for it then.
const Policy* asked(const Bundle& bundle, const Policy* policy) {
  return plans_with_policy(bundle.planner) ? policy : nullptr;
}

/// States that training saw: its range, or a standard deviation about the mean where a net knows
/// that. A masked input (std infinite) has no width.
void set_probe_range(const Bundle& bundle, Engine& engine) {
  const NetNormalisation& n =
      bundle.members.stack > 0 ? bundle.members.normalisation : bundle.critics.normalisation;
  for (int i = 0; i < bundle.nx; ++i) {
    const float mean = n.input_mean[i];
    const float width = std::isfinite(n.input_std[i]) ? n.input_std[i] : 0.0f;
    const bool known = !bundle.state_low.empty() && std::isfinite(bundle.state_low[i]) &&
                       std::isfinite(bundle.state_high[i]);
    engine.probe_low.push_back(known ? bundle.state_low[i] : mean - width);
    engine.probe_high.push_back(known ? bundle.state_high[i] : mean + width);
  }
}

PlannerOptions planner_options(const ControllerOptions& options, ThreadPool& pool) {
  return {.device = options.device, .pool = &pool, .cuda = options.cuda};
}

}  // namespace

Engine::Engine(const Bundle& bundle, const RewardModel* reward, const ControllerOptions& options)
    : pool(options.threads),
      config(chosen(bundle.planner, options)),
      precision(options.dynamics ? Precision::float32
                                 : member_precision(bundle, config.precision, options.device)),
      dynamics(learned_dynamics(bundle, precision, options)),
      value(std::make_unique<MlpValue>(bundle.critics, bundle.nx, bundle.nu)),
      policy(policy_of(bundle)),
      models{options.dynamics ? options.dynamics : dynamics.get(), reward,
             options.value ? options.value : value.get(), asked(bundle, policy.get())},
      planner(make_planner(config, shape_of(bundle), models, planner_options(options, pool))),
      dt(bundle.dt),
      mean(bundle.nx, bundle.nu),
      task(bundle.task),
      hash(bundle_hash(bundle)),
      state_low(bundle.state_low),
      state_high(bundle.state_high),
      unit(static_cast<std::size_t>(bundle.nx), 1.0f) {
  // an automatic device that turned out to be the CPU: it refuses what only a device computes
  if (planner->device() == "cpu" && config.precision == Precision::float16)
    resolve_precision(Precision::float16, bundle.members.spec);
  mean.prepare(*models.dynamics);
  if (dynamics)
    std::copy_n(bundle.members.normalisation.output_std.begin(), bundle.nx, unit.begin());
  set_probe_range(bundle, *this);
}

Engine::Engine(const PlannerConfig& settings, const ProblemShape& shape, const Models& given,
               double step, const ControllerOptions& options)
    : pool(options.threads),
      config(chosen(settings, options)),
      precision(config.precision),
      models(given),
      planner(make_planner(config, shape, given, planner_options(options, pool))),
      dt(step),
      mean(shape.nx, shape.nu),
      probe_low(static_cast<std::size_t>(shape.nx)),
      probe_high(static_cast<std::size_t>(shape.nx)),
      unit(static_cast<std::size_t>(shape.nx), 1.0f) {
  mean.prepare(*models.dynamics);
}

ProbePlan Engine::probe(std::uint64_t seed, std::uint32_t k) {
  const std::size_t nx = planner->shape().nx;
  std::vector<float> x(nx), plan(planner->plan_size()), action(planner->shape().nu);
  for (std::size_t i = 0; i < nx; ++i) {
    // additive recurrence: the middle first, then evenly over the range
    const double at = 0.5 + k * std::fmod(static_cast<double>(i + 1) * 0.6180339887498949, 1.0);
    x[i] = probe_low[i] + static_cast<float>(at - std::floor(at)) * (probe_high[i] - probe_low[i]);
  }
  ProbePlan result;
  PlanBatch batch;
  batch.problems = 1;
  batch.observation = x;
  batch.plan = plan;
  batch.action = action;
  batch.value = {&result.value, 1};
  batch.status = {&result.status, 1};
  planner->solve({seed, ~k}, batch);  // from the end of the solves that ticks count
  result.nets_finite = nets_finite(x, action);
  return result;
}

bool Engine::nets_finite(std::span<const float> x, std::span<const float> a) {
  std::vector<float> next(x.begin(), x.end());
  if (dynamics && models.dynamics == dynamics.get()) mean.step(*dynamics, next, a);
  if (!all_finite(next)) return false;
  if (!value || models.value != value.get()) return true;
  constexpr int kStride = cpu::kLanes;
  cpu::AlignedFloats states(next.size() * kStride), actions(a.size() * kStride), out(kStride);
  for (std::size_t i = 0; i < next.size(); ++i) states[i * kStride] = next[i];
  for (std::size_t i = 0; i < a.size(); ++i) actions[i * kStride] = a[i];
  cpu::AlignedBytes scratch(value->scratch_bytes(kStride));
  value->evaluate({states.data(), kStride}, {actions.data(), kStride}, 1, out.data(),
                  scratch.data());
  return std::isfinite(out[0]);
}

bool Engine::unlikely(std::span<const float> x, double margin) const {
  if (state_low.empty()) return false;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double width = static_cast<double>(state_high[i]) - state_low[i];
    if (std::isinf(width)) continue;
    const double off = std::max(static_cast<double>(state_low[i]) - x[i],
                                static_cast<double>(x[i]) - state_high[i]);
    if (off > margin * width) return true;
  }
  return false;
}

}  // namespace softmpc
