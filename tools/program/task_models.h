// SPDX-License-Identifier: Apache-2.0
// What a bundle of a built-in task plans with beside its nets.
#pragma once

#include <memory>
#include <string>

#include "softmpc/bundle.h"
#include "softmpc/model.h"

namespace softmpc::tools {

/// The task's reward and termination, as far as the bundle's own members do not predict them; null
/// if they predict all. Throws Error naming `path`.
std::unique_ptr<RewardModel> reward_of(const Bundle& bundle, const std::string& path);
/// The simulator, if the bundle has no members; else null. Throws Error naming `path`.
std::unique_ptr<DynamicsModel> dynamics_of(const Bundle& bundle, const std::string& path);

}  // namespace softmpc::tools
