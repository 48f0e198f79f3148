// SPDX-License-Identifier: Apache-2.0
// A differential-drive robot on a cost map: an example of own, analytic models for the planner,
// without learning and without a simulator. `softmpc bench diff-drive` plans with it.
//
// Three steps make such a model fast: the formulas (rules.h) are host-device functions of one lane,
// the loops over lanes are free functions marked SOFTMPC_MULTIVERSION, and the classes only call
// those. A CUDA device compiles rules.h as text.
#pragma once

#include <cstddef>
#include <vector>

#include "rules.h"
#include "softmpc/model.h"

namespace softmpc::tasks {

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
  DeviceRules device_rules() const override;

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
