// SPDX-License-Identifier: Apache-2.0
// What DeviceRules say of a type of rules, for kernels that use one.
#pragma once

#include "softmpc/hd/macros.h"

namespace softmpc::cuda {

/// Rules that take parameters, or none.
template <class Rules>
SOFTMPC_HD Rules make_rules(const float* parameters) {
  if constexpr (requires { Rules(parameters); })
    return Rules(parameters);
  else
    return Rules();
}
template <class Rules, class Next>
SOFTMPC_HD bool rules_terminated(const Rules& rules, const Next& next) {
  if constexpr (Rules::has_termination)
    return rules.terminated(next);
  else
    return false;
}

}  // namespace softmpc::cuda
