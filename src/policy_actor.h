// SPDX-License-Identifier: Apache-2.0
// What is executed where the policy acted in training: a = mu(x), without noise.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "softmpc/bundle.h"
#include "softmpc/network.h"

namespace softmpc {

class PolicyActor {
 public:
  explicit PolicyActor(const Bundle& bundle) {
    if (!bundle.policy || bundle.acting != Acting::policy) return;
    policy_ = std::make_unique<MlpPolicy>(*bundle.policy, bundle.action_low, bundle.action_high);
    action_.resize(static_cast<std::size_t>(bundle.nu));
    scratch_.resize(policy_->scratch_bytes(1) / sizeof(float));
  }
  /// False: the planner acts.
  bool acts() const { return policy_ != nullptr; }
  /// mu(x) [nu] for x [nx], until the next call.
  std::span<const float> act(std::span<const float> x) {
    policy_->evaluate({x.data(), 1}, 1, {action_.data(), 1}, scratch_.data());
    return action_;
  }

 private:
  std::unique_ptr<MlpPolicy> policy_;
  std::vector<float> action_, scratch_;
};

}  // namespace softmpc
