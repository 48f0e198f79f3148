// SPDX-License-Identifier: Apache-2.0
// A controller whose plans a device computes.
#include "softmpc/controller.h"

#include <string>
#include <utility>

#include "device.h"
#include "softmpc/cuda.h"
#include "softmpc/error.h"

namespace softmpc::cuda {
namespace {

class DeviceSolver final : public PlanSolver {
 public:
  DeviceSolver(const Bundle& b, const RewardModel* reward, std::shared_ptr<Device> device)
      : planner_(b.planner, {b.nx, b.nu, b.action_low, b.action_high, 1},
                 {.members = &b.members,
                  .outputs = b.outputs,
                  .critics = &b.critics,  // of several the first plans, as in training
                  .policy = b.policy ? &*b.policy : nullptr,
                  .reward = reward},
                 {}, std::move(device)) {}
  void solve(SolveKey key, const PlanBatch& batch) override { planner_.solve(key, batch); }
  std::string device() const override { return "cuda (" + planner_.diagnostics().device + ")"; }

 private:
  DevicePlanner planner_;
};

}  // namespace

Controller make_controller(const Bundle& bundle, const RewardModel* reward,
                           const ControllerOptions& options, std::shared_ptr<Device> device) {
  const std::string& name = options.device;
  if (name != "cpu" && name != "cuda" && name != "auto")
    throw UsageError("controller: device '" + name + "' must be one of cpu, cuda, auto");
  if (name == "cuda" && options.dynamics)
    throw Error(
        "controller: a device plans with the bundle's members; dynamics of one's own are "
        "for device cpu");
  const bool own_members = !options.dynamics && bundle.members.stack > 0;
  const bool on_cpu =
      name == "cpu" || (name == "auto" && (!own_members || (!device && !unavailable().empty())));
  if (on_cpu) {
    ControllerOptions cpu = options;
    cpu.device = "cpu";
    return Controller(bundle, reward, cpu);
  }
  return Controller(bundle, std::make_unique<DeviceSolver>(bundle, reward, std::move(device)),
                    options);
}

}  // namespace softmpc::cuda
