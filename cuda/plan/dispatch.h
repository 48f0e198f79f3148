// SPDX-License-Identifier: Apache-2.0
// Which kernel computes the rollouts of a planner, and how it is launched. Chosen once, from sizes
// and the device's facts: bits must not depend on a clock.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/layout.h"
#include "kernels/numbers.h"
#include "runtime/device.h"
#include "softmpc/cuda.h"

namespace softmpc::cuda {

struct RolloutChoice {
  Path path = Path::automatic;
  std::string why;      ///< a sentence for diagnostics
  KernelSource source;  ///< constants filled in, rules not
  LaunchShape shape;    ///< of one launch; blocks follow from the rollouts
  int slots = 0;        ///< rollouts of a block, or of a cluster
  WeightOrder order = WeightOrder::fragments;
  int ring_stages = 0;  ///< of rollout_wgmma
};

/// How the operands of the networks are kept.
struct NetOperands {
  Number number = Number::f16;
  Operands members = Operands::edges, critic = Operands::split;
};

/// For networks. `rollouts` is the most that a solve will have: problems times K. Throws UsageError
/// where the path asked for cannot run these sizes on this device.
RolloutChoice choose_rollout(const KernelConstants& constants, const NetOperands& operands,
                             std::int64_t rollouts, const DeviceFacts& device, Path wanted);

/// The same for analytic dynamics; the value is a formula, or a critic where there are
/// critic_layers.
RolloutChoice choose_analytic(const KernelConstants& constants, std::int64_t rollouts,
                              const DeviceFacts& device, Path wanted);

}  // namespace softmpc::cuda
