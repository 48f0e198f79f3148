// SPDX-License-Identifier: Apache-2.0
#include "softmpc/controller.h"

#include <string>
#include <utility>
#include <vector>

#include "planner_inputs.h"
#include "softmpc/error.h"
#include "softmpc/thread_pool.h"

namespace softmpc {
namespace {

ProblemShape shape_of(const Bundle& bundle) {
  return {bundle.nx, bundle.nu, bundle.action_low, bundle.action_high, 1};
}

class CpuSolver final : public PlanSolver {
 public:
  CpuSolver(const Bundle& bundle, const RewardModel* reward, const ControllerOptions& options)
      : pool_(options.threads),
        dynamics_(bundle.members, bundle.nx, bundle.nu, bundle.outputs,
                  resolve_precision(bundle.config.planner.precision, bundle.members.spec)),
        value_(bundle.critics, bundle.nx, bundle.nu),
        planner_(bundle.config.planner, shape_of(bundle), &pool_) {
    if (bundle.policy)
      policy_ = std::make_unique<MlpPolicy>(*bundle.policy, bundle.action_low, bundle.action_high);
    if (bundle.policy && bundle.policy->inputs() != bundle.nx)
      throw Error("policy: inputs do not fit nx " + std::to_string(bundle.nx));
    models_ = {options.dynamics ? options.dynamics : &dynamics_, reward, &value_, policy_.get()};
    planner_.check(models_);
  }
  void solve(SolveKey key, const PlanBatch& batch) override { planner_.solve(models_, key, batch); }
  std::string device() const override { return "cpu"; }

 private:
  ThreadPool pool_;
  MlpDynamics dynamics_;
  MlpValue value_;  // of several critics the first plans, as in training
  std::unique_ptr<MlpPolicy> policy_;
  Planner planner_;
  Models models_;
};

std::unique_ptr<PlanSolver> cpu_solver(const Bundle& bundle, const RewardModel* reward,
                                       const ControllerOptions& options) {
  if (options.device != "cpu")
    throw UsageError("controller: device '" + options.device +
                     "' is not for Controller, which computes on the cpu; "
                     "softmpc::cuda::make_controller takes cpu, cuda and auto");
  return std::make_unique<CpuSolver>(bundle, reward, options);
}

}  // namespace

struct Controller::Impl {
  Impl(const Bundle& bundle, std::unique_ptr<PlanSolver> solver_, std::uint64_t seed_)
      : seed(seed_), solver(std::move(solver_)), shape(shape_of(bundle)) {
    check_shape(bundle.config.planner, shape);
    constants = PlannerConstants(bundle.config.planner, shape);
    sequence.resize(static_cast<std::size_t>(bundle.config.planner.horizon + 1) * shape.nu);
    action.resize(shape.nu);
    result.action = action;
    result.sequence = sequence;
  }

  std::uint64_t seed;
  std::unique_ptr<PlanSolver> solver;
  ProblemShape shape;
  PlannerConstants constants;
  std::vector<float> sequence, action;
  std::uint32_t episode = 0, solve = 0;
  Plan result;
};

Controller::Controller(const Bundle& bundle, std::unique_ptr<PlanSolver> solver,
                       ControllerOptions options)
    : impl_(std::make_unique<Impl>(bundle, std::move(solver), options.seed)) {
  reset();
}
Controller::Controller(const Bundle& bundle, const RewardModel* reward, ControllerOptions options)
    : Controller(bundle, cpu_solver(bundle, reward, options), options) {}
Controller::Controller(Controller&&) noexcept = default;
Controller& Controller::operator=(Controller&&) noexcept = default;
Controller::~Controller() = default;

std::string Controller::device() const { return impl_->solver->device(); }

void Controller::reset() {
  Impl& c = *impl_;
  draw_plan(c.constants, {c.seed, c.episode++}, kEpisodePlan, c.sequence, c.sequence.size());
}

const Plan& Controller::plan(std::span<const float> observation) {
  Impl& c = *impl_;
  if (static_cast<int>(observation.size()) != c.shape.nx)
    throw Error("plan: the state has " + std::to_string(observation.size()) +
                " entries; this controller needs " + std::to_string(c.shape.nx));
  shift_plan(c.shape.nu, c.sequence, c.sequence.size());
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
  c.solver->solve({c.seed, c.solve++}, batch);
  return r;
}

}  // namespace softmpc
