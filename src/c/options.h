// SPDX-License-Identifier: Apache-2.0
// softmpc_options to and from ControllerOptions.
#pragma once

#include "softmpc/c_api.h"
#include "softmpc/controller.h"
#include "softmpc/runner.h"

namespace softmpc::c {

softmpc_options default_options() noexcept;
/// `given`, which may be null, with defaults for what it lacks. Throws Failure on its size.
softmpc_options known_options(const softmpc_options* given);
softmpc_runner_options default_runner_options() noexcept;
/// `given`, which may be null, as RunnerOptions. Throws Failure on its size, UsageError on a choice
/// out of range.
RunnerOptions runner_options(const softmpc_runner_options* given);
/// All but models and callbacks. Throws UsageError on what is out of range.
ControllerOptions controller_options(const softmpc_options& given, int nu);

}  // namespace softmpc::c
