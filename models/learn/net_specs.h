// SPDX-License-Identifier: Apache-2.0
// The nets that the settings describe, the same for every learner and device.
#pragma once

#include <vector>

#include "softmpc/config.h"
#include "softmpc/network.h"

namespace softmpc {

/// A member's net: the state change, then what `outputs` and the loss add.
inline NetSpec member_spec(const ModelConfig& config, int nx, int nu, MemberOutputs outputs) {
  const int variances = config.loss == Loss::gaussian_nll ? nx + outputs.reward : 0;
  return NetSpec::mlp(nx + nu, config.width, config.layers,
                      nx + outputs.reward + outputs.termination + variances, config.layer_norm);
}

inline NetSpec critic_spec(const CriticConfig& config, int nx, int nu) {
  return NetSpec::mlp(nx + nu, config.width, config.layers, 1, config.layer_norm);
}

inline NetSpec policy_spec(const PolicyConfig& config, int nx, int nu) {
  return NetSpec::mlp(nx, config.width, config.layers, nu);
}

/// The constants of a policy: those of the critics' states, and none for its outputs.
inline NetNormalisation policy_normalisation(const NetNormalisation& critics, int nx, int nu) {
  const auto first = [nx](const std::vector<float>& v) {
    return std::vector<float>(v.begin(), v.begin() + nx);
  };
  const auto outputs = static_cast<std::size_t>(nu);
  return {first(critics.input_mean), first(critics.input_std), std::vector<float>(outputs, 0.0f),
          std::vector<float>(outputs, 1.0f)};
}

}  // namespace softmpc
