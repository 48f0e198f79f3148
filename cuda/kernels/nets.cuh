// SPDX-License-Identifier: Apache-2.0
// Shapes of a planner's networks from its constants, for kernels and for the host that packs them.
#pragma once

#include "layout.h"

namespace softmpc::cuda {

template <class Sizes>
SOFTMPC_HD NetShape dynamics_shape(const Sizes& s, Operands operands,
                                   WeightOrder order = WeightOrder::fragments) {
  return {s.nx + s.nu, s.dynamics_width, s.dynamics_layers, s.dynamics_outputs, operands,
          order,       s.dynamics_norm};
}
template <class Sizes>
SOFTMPC_HD NetShape critic_shape(const Sizes& s, Operands operands,
                                 WeightOrder order = WeightOrder::fragments) {
  return {s.nx + s.nu, s.critic_width, s.critic_layers, 1, operands, order, s.critic_norm};
}
template <class Sizes>
SOFTMPC_HD NetShape policy_shape(const Sizes& s, Operands operands,
                                 WeightOrder order = WeightOrder::fragments) {
  return {s.nx, s.policy_width, s.policy_layers, s.nu, operands, order, s.policy_norm};
}

}  // namespace softmpc::cuda
