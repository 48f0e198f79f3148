// SPDX-License-Identifier: Apache-2.0
// The loops over lanes of the differential drive, and its room.
#include "diff_drive.h"

#include <algorithm>
#include <cmath>

#include "../rules_text.h"
#include "softmpc/multiversion.h"

namespace softmpc::tasks {
namespace {

SOFTMPC_MULTIVERSION
void advance_lanes(const float* __restrict x, const float* __restrict y, const float* __restrict q,
                   const float* __restrict v, const float* __restrict w, float* __restrict next_x,
                   float* __restrict next_y, float* __restrict next_q, int count) {
  for (int j = 0; j < count; ++j)
    DiffDrive::advance(x[j], y[j], q[j], v[j], w[j], next_x[j], next_y[j], next_q[j]);
}

SOFTMPC_MULTIVERSION
void reward_lanes(Costmap map, float goal_x, float goal_y, const float* __restrict x,
                  const float* __restrict y, int count, float* __restrict out) {
  const float inverse = 1 / map.resolution;
  const float* __restrict cost = map.cost;
  for (int j = 0; j < count; ++j) {
    const int column = DiffDrive::cell(x[j], map.left, inverse, map.width);
    const int row = DiffDrive::cell(y[j], map.bottom, inverse, map.height);
    const float distance = DiffDrive::distance(x[j], y[j], goal_x, goal_y);
    out[j] = DiffDrive::reward(distance, cost[row * map.width + column]);
  }
}

SOFTMPC_MULTIVERSION
void value_lanes(float goal_x, float goal_y, const float* __restrict x, const float* __restrict y,
                 int count, float* __restrict out) {
  for (int j = 0; j < count; ++j)
    out[j] = DiffDrive::end_value(DiffDrive::distance(x[j], y[j], goal_x, goal_y));
}

constexpr const char* kRules = "diff_drive/rules.h";

}  // namespace

void DiffDriveDynamics::step(int, ConstColumns x, ConstColumns a, int count, const StepResult& out,
                             void*) const {
  advance_lanes(x[DiffDrive::px], x[DiffDrive::py], x[DiffDrive::heading], a[DiffDrive::speed],
                a[DiffDrive::turn], out.next[DiffDrive::px], out.next[DiffDrive::py],
                out.next[DiffDrive::heading], count);
}

DeviceRules DiffDriveDynamics::device_rules() const {
  return {"softmpc::tasks::DiffDriveMotion", rules_text(rules_header(kRules)), {}};
}

void DiffDriveReward::reward(ConstColumns, ConstColumns, ConstColumns next, int count,
                             float* out) const {
  reward_lanes(map_, goal_x_, goal_y_, next[DiffDrive::px], next[DiffDrive::py], count, out);
}

DeviceRules DiffDriveReward::device_rules() const {
  DeviceRules rules{"softmpc::tasks::DiffDriveRules",
                    rules_text(rules_header(kRules)),
                    {static_cast<float>(map_.width), static_cast<float>(map_.height),
                     map_.resolution, map_.left, map_.bottom, goal_x_, goal_y_}};
  rules.parameters.insert(rules.parameters.end(), map_.cost,
                          map_.cost + static_cast<std::size_t>(map_.width) * map_.height);
  return rules;
}

void DiffDriveValue::evaluate(ConstColumns x, ConstColumns, int count, float* out, void*) const {
  value_lanes(goal_x_, goal_y_, x[DiffDrive::px], x[DiffDrive::py], count, out);
}

DeviceRules DiffDriveValue::device_rules() const {
  return {"softmpc::tasks::DiffDriveEnd", rules_text(rules_header(kRules)), {goal_x_, goal_y_}};
}

Costmap diff_drive_room(std::vector<float>& storage) {
  constexpr int kCells = 110;
  constexpr float kResolution = 0.1f, kHalf = 0.5f * kCells * kResolution;
  constexpr float kPillars[][3] = {// x, y, radius
                                   {-2.0f, -1.5f, 0.5f},
                                   {0.0f, 0.5f, 0.7f},
                                   {2.5f, 1.0f, 0.4f},
                                   {1.0f, 3.0f, 0.5f},
                                   {-1.0f, -3.5f, 0.4f}};
  storage.resize(static_cast<std::size_t>(kCells) * kCells);
  for (int row = 0; row < kCells; ++row)
    for (int column = 0; column < kCells; ++column) {
      const float x = (static_cast<float>(column) + 0.5f) * kResolution - kHalf;
      const float y = (static_cast<float>(row) + 0.5f) * kResolution - kHalf;
      float gap = kHalf - std::max(std::abs(x), std::abs(y));  // m to what is nearest
      for (const auto& [px, py, radius] : kPillars)
        gap = std::min(gap, std::hypot(x - px, y - py) - radius);
      storage[static_cast<std::size_t>(row) * kCells + column] =
          gap < 0.2f ? 10.0f : std::exp(-3.0f * (gap - 0.2f));
    }
  return {kCells, kCells, kResolution, -kHalf, -kHalf, storage.data()};
}

}  // namespace softmpc::tasks
