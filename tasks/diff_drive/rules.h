// SPDX-License-Identifier: Apache-2.0
// The differential drive's formulas, of one lane each, for host and device.
#pragma once

#include "softmpc/hd/math.h"

namespace softmpc::tasks {

/// Costs of cells in metres, row-major; beyond the edge the nearest cell counts.
struct Costmap {
  int width = 0, height = 0;    ///< cells
  float resolution = 0;         ///< m per cell
  float left = 0, bottom = 0;   ///< m, the corner of cell (0, 0)
  const float* cost = nullptr;  ///< [height, width]
};

struct DiffDrive {
  enum State : int { px, py, heading, nx };
  enum Action : int { speed, turn, nu };
  static constexpr float dt = 0.02f;  // s
  // what the drive can do: m/s, rad/s
  static constexpr float min_speed = -0.35f, max_speed = 0.5f, max_turn = 1.9f;
  static constexpr float map_weight = 4.0f;
  static constexpr float end_weight = 2.0f;

  // p' = p + v (cos q, sin q) dt, q' = q + w dt
  SOFTMPC_HD static void advance(float x, float y, float q, float v, float w, float& next_x,
                                 float& next_y, float& next_q) {
    float sine, cosine;
    hd::sincos(q, sine, cosine);
    next_x = x + v * cosine * dt;
    next_y = y + v * sine * dt;
    next_q = q + w * dt;
  }

  // index of the cell along one axis; NaN counts as the first cell
  SOFTMPC_HD static int cell(float position, float origin, float inverse_resolution, int cells) {
    float at = (position - origin) * inverse_resolution;
    at = at > 0.0f ? at : 0.0f;
    const float last = static_cast<float>(cells - 1);
    at = at < last ? at : last;
    return static_cast<int>(at);
  }

  SOFTMPC_HD static float distance(float x, float y, float goal_x, float goal_y) {
    const float dx = x - goal_x, dy = y - goal_y;
    return __builtin_sqrtf(dx * dx + dy * dy);
  }

  // r = -(|p' - goal| + map_weight * cost of the cell) dt
  SOFTMPC_HD static float reward(float distance_to_goal, float cell_cost) {
    return -(distance_to_goal + map_weight * cell_cost) * dt;
  }

  // Q = -end_weight |p - goal|
  SOFTMPC_HD static float end_value(float distance_to_goal) {
    return -end_weight * distance_to_goal;
  }
};

/// The reward as device rules, which read goal and map from parameters: width, height, resolution,
/// left, bottom, goal x, goal y, then the cells.
struct DiffDriveRules {
  static constexpr bool has_termination = false;
  static constexpr int map_parameters = 7;

  SOFTMPC_HD explicit DiffDriveRules(const float* p)
      : width(static_cast<int>(p[0])),
        height(static_cast<int>(p[1])),
        inverse(1 / p[2]),
        left(p[3]),
        bottom(p[4]),
        goal_x(p[5]),
        goal_y(p[6]),
        cost(p + map_parameters) {}

  template <class X, class A, class N>
  SOFTMPC_HD float reward(const X&, const A&, const N& next) const {
    const float x = next[DiffDrive::px], y = next[DiffDrive::py];
    const int column = DiffDrive::cell(x, left, inverse, width);
    const int row = DiffDrive::cell(y, bottom, inverse, height);
    return DiffDrive::reward(DiffDrive::distance(x, y, goal_x, goal_y), cost[row * width + column]);
  }
  template <class N>
  SOFTMPC_HD bool terminated(const N&) const {
    return false;
  }

  int width, height;
  float inverse, left, bottom, goal_x, goal_y;
  const float* cost;
};

}  // namespace softmpc::tasks
