// SPDX-License-Identifier: Apache-2.0
// The seam between the core and its CUDA room, which implements these; where the build has no CUDA,
// they say so.
#pragma once

#include <memory>
#include <string>

#include "softmpc/planner.h"

namespace softmpc {

/// Why a device cannot plan with these models here, in one sentence; empty if one can.
std::string cuda_refusal(const Models& models, const cuda::DeviceOptions* options);
/// Throws as make_planner.
std::unique_ptr<Planner> make_cuda_planner(const PlannerConfig& config, const ProblemShape& shape,
                                           const Models& models,
                                           const cuda::DeviceOptions* options);

}  // namespace softmpc
