// SPDX-License-Identifier: Apache-2.0
// The core's seam to this room: models of any kind become what a device takes.
#include "backend.h"

#include <optional>
#include <string>
#include <type_traits>

#include "plan/device_planner.h"
#include "plan/net.h"
#include "softmpc/error.h"

namespace softmpc {
namespace cuda {
namespace {

/// Weights unpacked from the models' networks, and a view of them.
class NetworksOf {
 public:
  explicit NetworksOf(const Models& m) {
    NetWeights w;
    view_.reward = m.reward;
    if (m.dynamics && m.dynamics->read_network(w)) {
      members_ = std::move(w);
      view_.members = &*members_;
      view_.outputs = {m.dynamics->predicts_reward(), m.dynamics->predicts_termination()};
    } else {
      view_.dynamics = m.dynamics;
    }
    if (m.value && m.value->read_network(w)) {
      critics_ = std::move(w);
      view_.critics = &*critics_;
    } else {
      view_.value = m.value;
    }
    if (!m.policy) return;
    if (!m.policy->read_network(w))
      throw Error("planner: a device takes a policy that is a network, not a formula");
    policy_ = std::move(w);
    view_.policy = &*policy_;
  }
  NetworksOf(const NetworksOf&) = delete;
  const DeviceModels& view() const { return view_; }

 private:
  std::optional<NetWeights> members_, critics_, policy_;
  DeviceModels view_;
};

/// `planner` as one of a device; P is const or not, and so is the result.
template <class P>
auto& on_device(P& planner) {
  using Wanted = std::conditional_t<std::is_const_v<P>, const DevicePlanner, DevicePlanner>;
  if (auto* p = dynamic_cast<Wanted*>(&planner.solver())) return *p;
  throw Error("planner: it computes on the " + planner.device() + ", not on a CUDA device");
}

}  // namespace

void DevicePlanner::update(const Models& models) { update(NetworksOf(models).view()); }

DeviceDiagnostics diagnostics(const Planner& planner) { return on_device(planner).diagnostics(); }

double device_seconds(Planner& planner, int repeats) {
  return on_device(planner).device_seconds(repeats);
}

}  // namespace cuda

std::string cuda_refusal(const Models& m, const cuda::DeviceOptions* options) {
  if (!options || !options->device) {
    std::string missing = cuda::unavailable();
    if (!missing.empty()) return missing;
  }
  NetWeights members, critic, policy;
  const bool learned = m.dynamics && m.dynamics->read_network(members);
  const bool valued = m.value && m.value->read_network(critic);
  const bool acted = m.policy && m.policy->read_network(policy);
  if (!learned && m.dynamics && m.dynamics->device_rules().type.empty())
    return "these dynamics have no form for a device";
  if (!valued && m.value && m.value->device_rules().type.empty())
    return "this terminal value has no form for a device";
  if (learned && !valued && m.value) return cuda::kFormulaAsValue;
  if (m.reward && m.reward->device_rules().type.empty())
    return "this reward has no form for a device";
  if (m.policy && !(learned && acted)) return "this policy has no form for a device";
  try {
    if (learned) cuda::parameter_table(members.spec);
    if (valued) cuda::parameter_table(critic.spec);
    if (acted) cuda::parameter_table(policy.spec);
  } catch (const UsageError& refused) {
    return refused.what();
  }
  return {};
}

std::unique_ptr<Planner> make_cuda_planner(const PlannerConfig& config, const ProblemShape& shape,
                                           const Models& models,
                                           const cuda::DeviceOptions* options) {
  const cuda::DeviceOptions used = options ? *options : cuda::DeviceOptions{};
  // before weights are unpacked: a machine without a device says so first
  const auto device = used.device ? used.device : cuda::open_device();
  return std::make_unique<cuda::DevicePlanner>(config, shape, cuda::NetworksOf(models).view(), used,
                                               device);
}

}  // namespace softmpc
