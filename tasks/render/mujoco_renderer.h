// SPDX-License-Identifier: Apache-2.0
// Pictures by MuJoCo's own renderer. The model that is drawn is dressed up for it (sky, floor,
// light); the one that is simulated is another.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "scene.h"
#include "softmpc/renderer.h"
#include "softmpc/types.h"

namespace softmpc::tasks {

/// What Renderer::follow() does.
struct Following {
  bool adds_up = false;
  std::function<void(ConstLane before, ConstLane after, double* positions)> move;
};

/// `mjcf` is the text that the task is simulated from. Throws Error where nothing can be drawn.
std::unique_ptr<Renderer> make_mujoco_renderer(const std::string& task, std::string_view mjcf,
                                               const SceneFacts& scene, Following following,
                                               const RendererOptions& options);

}  // namespace softmpc::tasks
