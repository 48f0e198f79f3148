// SPDX-License-Identifier: Apache-2.0
// A bundle on its way into a running controller.
#include <string>
#include <utility>

#include "control/loop.h"
#include "softmpc/error.h"

namespace softmpc {
namespace {

constexpr double kSpreads = 100;

[[noreturn]] void refuse(const std::string& what) { throw Error("swap: the bundle " + what); }

void check_fit(const Controller::Impl& c, const Bundle& b) {
  const auto differs = [](const char* what, const auto& has, const auto& needed) {
    if (has != needed)
      refuse(std::string("has ") + what + " " + std::to_string(has) + ", the controller " +
             std::to_string(needed));
  };
  differs("nx", b.nx, c.shape.nx);
  differs("nu", b.nu, c.shape.nu);
  differs("dt", b.dt, c.dt);
  differs("planner.horizon", b.planner.horizon, c.config.horizon);
  if (b.action_low != c.shape.action_low || b.action_high != c.shape.action_high)
    refuse("has other action bounds than the controller");
  if (neutral_action(b.planner, c.shape) != neutral_action(c.config, c.shape))
    refuse("has another planner.neutral than the controller");
  if (c.options.min_rollouts > b.planner.rollouts)
    refuse("has planner.rollouts " + std::to_string(b.planner.rollouts) +
           ", fewer than the controller's min_rollouts " + std::to_string(c.options.min_rollouts));
}

}  // namespace

Prepared::Prepared(const Controller& controller, const Bundle& bundle) {
  const Controller::Impl& c = *controller.impl_;
  check_fit(c, bundle);
  if (!c.task.empty() && bundle.task != c.task)
    refuse("is of the task '" + bundle.task + "', the controller of '" + c.task + "'");
  auto engine = std::make_unique<Engine>(bundle, c.reward, c.options);
  for (std::uint32_t k = 0; k < kProbes; ++k) {
    const ProbePlan probe = engine->probe(c.options.seed, k);
    const std::string plan = "gives a plan from a state that training saw ";
    if (!probe.good()) refuse(plan + "that is not finite");
    if (!c.values.holds(probe.value, kSpreads))
      refuse(plan + "with the value " + std::to_string(probe.value) + ", further than " +
             std::to_string(static_cast<int>(kSpreads)) +
             " times their spread from the running nets' values");
  }
  impl_ = std::make_unique<Impl>(Impl{std::move(engine)});  // clang 14 has no Impl(...)
}

Prepared::Prepared(Prepared&&) noexcept = default;
Prepared& Prepared::operator=(Prepared&&) noexcept = default;
Prepared::~Prepared() = default;

}  // namespace softmpc
