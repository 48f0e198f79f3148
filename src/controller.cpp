// SPDX-License-Identifier: Apache-2.0
#include "softmpc/controller.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "softmpc/error.h"
#include "softmpc/thread_pool.h"

namespace softmpc {
namespace {

ProblemShape shape_of(const Bundle& bundle) {
  return {bundle.nx, bundle.nu, bundle.action_low, bundle.action_high, 1};
}

/// A device's operands come from the planner's settings; the CPU measures what `auto` means.
Precision member_precision(const Bundle& bundle, Device device) {
  const Precision wanted = bundle.planner.precision;
  const bool for_a_device = device != Device::cpu && wanted == Precision::float16;
  if (device == Device::cuda || for_a_device) return Precision::float32;
  return resolve_precision(wanted, bundle.members.spec);
}

std::unique_ptr<MlpDynamics> learned_dynamics(const Bundle& bundle,
                                              const ControllerOptions& options) {
  if (options.dynamics) return nullptr;
  if (bundle.members.stack == 0)
    throw Error(
        "controller: this bundle has no members, it was trained with dynamics of its own "
        "(model.source=environment); ControllerOptions::dynamics must give them");
  return std::make_unique<MlpDynamics>(bundle.members, bundle.nx, bundle.nu, bundle.outputs,
                                       member_precision(bundle, options.device));
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

}  // namespace

struct Controller::Impl {
  Impl(const Bundle& bundle, const RewardModel* reward, const ControllerOptions& options)
      : seed(options.seed),
        pool(options.threads),
        dynamics(learned_dynamics(bundle, options)),
        value(bundle.critics, bundle.nx, bundle.nu),
        policy(policy_of(bundle)),
        planner(make_planner(bundle.planner, shape_of(bundle),
                             {options.dynamics ? options.dynamics : dynamics.get(), reward, &value,
                              asked(bundle, policy.get())},
                             {.device = options.device, .pool = &pool, .cuda = options.cuda})),
        sequence(planner->plan_size()),
        action(bundle.nu) {
    // an automatic device that turned out to be the CPU: it refuses what only a device computes
    if (planner->device() == "cpu" && bundle.planner.precision == Precision::float16)
      resolve_precision(Precision::float16, bundle.members.spec);
    result.action = action;
    result.sequence = sequence;
  }

  std::uint64_t seed;
  ThreadPool pool;
  std::unique_ptr<MlpDynamics> dynamics;
  MlpValue value;  // of several critics the first plans, as in training
  std::unique_ptr<MlpPolicy> policy;
  std::unique_ptr<Planner> planner;
  std::vector<float> sequence, action;
  std::uint32_t episode = 0, solve = 0;
  Plan result;
};

Controller::Controller(const Bundle& bundle, const RewardModel* reward, ControllerOptions options)
    : impl_(std::make_unique<Impl>(bundle, reward, options)) {
  reset();
}
Controller::Controller(Controller&&) noexcept = default;
Controller& Controller::operator=(Controller&&) noexcept = default;
Controller::~Controller() = default;

std::string Controller::device() const { return impl_->planner->device(); }

void Controller::reset() {
  Impl& c = *impl_;
  c.planner->draw({c.seed, c.episode++}, kEpisodePlan, c.sequence);
}

const Plan& Controller::plan(std::span<const float> observation) {
  Impl& c = *impl_;
  if (static_cast<int>(observation.size()) != c.planner->shape().nx)
    throw Error("plan: the state has " + std::to_string(observation.size()) +
                " entries; this controller needs " + std::to_string(c.planner->shape().nx));
  c.planner->shift(c.sequence);
  Plan& r = c.result;
  PlanBatch batch;
  batch.problems = 1;
  batch.observation = observation;
  batch.plan = c.sequence;
  batch.action = c.action;
  batch.value = {&r.value, 1};
  batch.effective_samples = {&r.effective_samples, 1};
  batch.valid_share = {&r.valid_share, 1};
  batch.status = {&r.status, 1};
  c.planner->solve({c.seed, c.solve++}, batch);
  return r;
}

}  // namespace softmpc
