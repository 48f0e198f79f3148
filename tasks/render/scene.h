// SPDX-License-Identifier: Apache-2.0
// How a task is looked at: camera and traced points. A task says it beside its other facts.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

namespace softmpc::tasks {

/// A point fixed to a body, whose path is worth a line.
struct TracedPoint {
  std::string body;
  std::array<double, 3> offset = {};  ///< m, in the body's frame
};

struct SceneFacts {
  std::vector<TracedPoint> traced = {};
  std::string tracked = {};  ///< body that the camera goes along with in x and y; empty: none
  std::array<double, 3> centre = {};     ///< m, what it looks at, from the tracked body's x and y
  double distance = 3;                   ///< m from there
  double azimuth = 90, elevation = -12;  ///< degrees; 90: along y, x to the right
  std::optional<double> floor_height = {};  ///< m; nothing: the model's own floor
  double square = 1;                        ///< m, edge of the floor's squares
};

}  // namespace softmpc::tasks
