// SPDX-License-Identifier: Apache-2.0
// A differential-drive robot on a cost map: an example of own, analytic models for the planner,
// without learning and without a simulator. `softmpc bench diff-drive` plans with it.
//
// Three steps make such a model fast: the formulas are host-device functions of one lane, the loops
// over lanes are free functions marked SOFTMPC_MULTIVERSION, and the classes only call those.
#pragma once

#include <cstddef>
#include <vector>

#include "softmpc/hd/math.h"
#include "softmpc/model.h"

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
  // reward = -(distance to the goal + map_weight * cost of the cell) dt
  static constexpr float map_weight = 4.0f;
  // value = -end_weight * distance to the goal
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
};

/// x' of the drive. One member, no scratch.
class DiffDriveDynamics final : public DynamicsModel {
 public:
  int members() const override { return 1; }
  std::size_t scratch_bytes(int) const override { return 0; }
  void step(int member, ConstColumns x, ConstColumns a, int count, const StepResult& out,
            void* scratch) const override;
};

/// r(x, a, x') = -(|p' - goal| + map_weight * map(p')) dt
class DiffDriveReward final : public RewardModel {
 public:
  /// `map` and what it points to are borrowed.
  DiffDriveReward(const Costmap& map, float goal_x, float goal_y)
      : map_(map), goal_x_(goal_x), goal_y_(goal_y) {}
  void reward(ConstColumns x, ConstColumns a, ConstColumns next, int count,
              float* out) const override;

 private:
  Costmap map_;
  float goal_x_, goal_y_;
};

/// Q(x, a) = -end_weight |p - goal|
class DiffDriveValue final : public TerminalValue {
 public:
  DiffDriveValue(float goal_x, float goal_y) : goal_x_(goal_x), goal_y_(goal_y) {}
  std::size_t scratch_bytes(int) const override { return 0; }
  void evaluate(ConstColumns x, ConstColumns a, int count, float* out,
                void* scratch) const override;

 private:
  float goal_x_, goal_y_;
};

/// A room of 11 m x 11 m in cells of 0.1 m around (0, 0): walls, and pillars that cost less with
/// distance. `storage` receives the cells.
Costmap diff_drive_room(std::vector<float>& storage);

}  // namespace softmpc::tasks
