// SPDX-License-Identifier: Apache-2.0
// What validate() asks of each field by itself.
#pragma once

#include "softmpc/config.h"

namespace softmpc {

/// Throws UsageError where a field breaks its rule; `lead` and `trail` are put around its key.
void check_field_rules(const Config& config, const char* lead = "", const char* trail = "");

}  // namespace softmpc
