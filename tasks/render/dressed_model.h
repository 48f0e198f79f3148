// SPDX-License-Identifier: Apache-2.0
// A model to look at, made of the one that is simulated.
#pragma once

#include <string>
#include <string_view>

#include "mujoco_model.h"
#include "scene.h"
#include "softmpc/renderer.h"

namespace softmpc::tasks {

/// `mjcf` with a sky, a checkered floor and light, and buffers of the picture's size. Positions
/// mean the same as in the model of `mjcf` alone; it is not for simulation.
ModelPointer dressed_model(const std::string& task, std::string_view mjcf, const SceneFacts& scene,
                           const RendererOptions& options);

}  // namespace softmpc::tasks
