// SPDX-License-Identifier: Apache-2.0
#include "softmpc/controller.h"

#include <string>
#include <vector>

#include "softmpc/error.h"
#include "softmpc/thread_pool.h"

namespace softmpc {

struct Controller::Impl {
  Impl(const Bundle& bundle, const RewardModel* reward, ControllerOptions options)
      : seed(options.seed),
        pool(options.threads),
        dynamics(bundle.members, bundle.nx, bundle.nu, bundle.outputs,
                 resolve_precision(bundle.config.planner.precision, bundle.members.sizes)),
        value(bundle.critics, bundle.nx, bundle.nu),
        planner(bundle.config.planner,
                {bundle.nx, bundle.nu, bundle.action_low, bundle.action_high, 1}, &pool) {
    if (bundle.policy)
      policy = std::make_unique<MlpPolicy>(*bundle.policy, bundle.action_low, bundle.action_high);
    if (bundle.policy && bundle.policy->inputs() != bundle.nx)
      throw Error("policy: inputs do not fit nx " + std::to_string(bundle.nx));
    models = {options.dynamics ? options.dynamics : &dynamics, reward, &value, policy.get()};
    planner.check(models);
    sequence.resize(planner.plan_size());
    action.resize(bundle.nu);
    result.action = action;
    result.sequence = sequence;
  }

  std::uint64_t seed;
  ThreadPool pool;
  MlpDynamics dynamics;
  MlpValue value;  // of several critics the first plans, as in training
  std::unique_ptr<MlpPolicy> policy;
  Planner planner;
  Models models;
  std::vector<float> sequence, action;
  std::uint32_t episode = 0, solve = 0;
  Plan result;
};

Controller::Controller(const Bundle& bundle, const RewardModel* reward, ControllerOptions options)
    : impl_(std::make_unique<Impl>(bundle, reward, options)) {
  reset();
}
Controller::~Controller() = default;

void Controller::reset() {
  Impl& c = *impl_;
  c.planner.draw({c.seed, c.episode++}, kEpisodePlan, c.sequence);
}

const Plan& Controller::plan(std::span<const float> observation) {
  Impl& c = *impl_;
  if (static_cast<int>(observation.size()) != c.planner.shape().nx)
    throw Error("plan: the state has " + std::to_string(observation.size()) +
                " entries; this controller needs " + std::to_string(c.planner.shape().nx));
  c.planner.shift(c.sequence);
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
  c.planner.solve(c.models, {c.seed, c.solve++}, batch);
  return r;
}

}  // namespace softmpc
