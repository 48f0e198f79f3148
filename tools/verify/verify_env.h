// SPDX-License-Identifier: Apache-2.0
// Replays a recorded trajectory of an environment.
#pragma once

#include "verify/verify_report.h"

namespace softmpc::tools {

/// `document` is a file of "kind": "env". Throws Error naming file and key where it is malformed.
VerifyReport verify_env(const JsonNode& document);

}  // namespace softmpc::tools
