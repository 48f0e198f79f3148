// SPDX-License-Identifier: Apache-2.0
// What RunnerOptions ask of the system.
#pragma once

#include <string>
#include <thread>

#include "softmpc/runner.h"

namespace softmpc {

/// Priority and processor of a running thread, and the process's memory. Returns what was refused,
/// a line with one sentence each.
std::string apply_settings(const RunnerOptions& options, std::thread& thread);

}  // namespace softmpc
