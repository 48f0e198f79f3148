// SPDX-License-Identifier: Apache-2.0
// Repeats a recorded plan with the recorded noise.
#pragma once

#include "verify_report.h"

namespace softmpc::tools {

/// `document` is a file of "kind": "plan". Throws Error naming file and key where it is malformed.
VerifyReport verify_plan(const JsonNode& document);

}  // namespace softmpc::tools
