// SPDX-License-Identifier: Apache-2.0
// Tests tasks/diff_drive: the loops against formulas in double, the map's edges, and a drive to the
// goal.
#include "diff_drive/diff_drive.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "softmpc/planner.h"

namespace softmpc::tasks {
namespace {

using D = DiffDrive;

/// Columns of `rows` components for `count` lanes.
struct Block {
  Block(int rows, int count) : values(static_cast<std::size_t>(rows) * count), stride(count) {}
  Columns columns() { return {values.data(), stride}; }
  std::vector<float> values;
  int stride;
};

TEST(DiffDrive, LanesFollowTheFormulas) {
  std::vector<float> cells;
  const Costmap map = diff_drive_room(cells);
  const DiffDriveReward reward(map, 4, 3);
  const DiffDriveValue value(4, 3);
  std::mt19937 engine(7);
  std::uniform_real_distribution<float> place(-7, 7), angle(-50, 50), action(-2, 2);
  for (const int count : {1, 7, 16, 48, 61}) {
    Block x(D::nx, count), a(D::nu, count), next(D::nx, count);
    for (int j = 0; j < count; ++j) {
      x.columns()[D::px][j] = place(engine);
      x.columns()[D::py][j] = place(engine);
      x.columns()[D::heading][j] = angle(engine);
      for (int i = 0; i < D::nu; ++i) a.columns()[i][j] = action(engine);
    }
    std::vector<float> r(static_cast<std::size_t>(count)), q(r);
    DiffDriveDynamics().step(0, x.columns(), a.columns(), count, {next.columns(), nullptr, nullptr},
                             nullptr);
    reward.reward(x.columns(), a.columns(), next.columns(), count, r.data());
    value.evaluate(next.columns(), a.columns(), count, q.data(), nullptr);
    for (int j = 0; j < count; ++j) {
      SCOPED_TRACE(testing::Message() << count << " lanes, lane " << j);
      const double heading = x.columns()[D::heading][j], v = a.columns()[D::speed][j];
      const float nx = next.columns()[D::px][j], ny = next.columns()[D::py][j];
      EXPECT_NEAR(nx, x.columns()[D::px][j] + v * std::cos(heading) * D::dt, 2e-6);
      EXPECT_NEAR(ny, x.columns()[D::py][j] + v * std::sin(heading) * D::dt, 2e-6);
      EXPECT_NEAR(next.columns()[D::heading][j], heading + a.columns()[D::turn][j] * D::dt, 1e-5);
      const auto cell = [](float p) {
        return std::clamp(static_cast<int>(std::floor((p + 5.5f) * (1 / 0.1f))), 0, 109);
      };
      const double distance = std::hypot(nx - 4.0, ny - 3.0);
      const double cost = cells[static_cast<std::size_t>(cell(ny) * 110 + cell(nx))];
      EXPECT_NEAR(r[static_cast<std::size_t>(j)], -(distance + D::map_weight * cost) * D::dt, 1e-5);
      EXPECT_NEAR(q[static_cast<std::size_t>(j)], -D::end_weight * distance, 1e-5);
    }
  }
}

TEST(DiffDrive, NoPlaceReadsBeyondTheMap) {
  std::vector<float> cells;
  const Costmap map = diff_drive_room(cells);
  ASSERT_EQ(cells.size(), 110u * 110u);
  const float inf = std::numeric_limits<float>::infinity();
  for (const float p : {-inf, inf, std::nanf(""), -1e30f, 1e30f, -5.5f, 5.5f, 5.4999f}) {
    const int cell = D::cell(p, map.left, 1 / map.resolution, map.width);
    EXPECT_GE(cell, 0) << p;
    EXPECT_LT(cell, map.width) << p;
  }
  EXPECT_EQ(D::cell(-5.45f, map.left, 1 / map.resolution, map.width), 0);
  EXPECT_EQ(D::cell(5.45f, map.left, 1 / map.resolution, map.width), 109);
  // walls cost, the free middle does not
  EXPECT_GT(cells[0], 5);
  EXPECT_LT(*std::min_element(cells.begin(), cells.end()), 0.2);
}

TEST(DiffDrive, PlansLeadToTheGoal) {
  std::vector<float> cells;
  const Costmap map = diff_drive_room(cells);
  const DiffDriveDynamics dynamics;
  const DiffDriveReward reward(map, 4, 4);
  const DiffDriveValue value(4, 4);
  PlannerConfig config;
  config.rollouts = 256;
  config.horizon = 50;
  config.temperature = 0.0005;  // low: the prior holds still
  config.variance = {0.04, 0.64};
  config.gamma = 1;
  const auto planner = make_planner(
      config, {D::nx, D::nu, {D::min_speed, -D::max_turn}, {D::max_speed, D::max_turn}, 1},
      {&dynamics, &reward, &value});
  std::vector<float> x = {3, 3.2f, 2.5f}, plan(planner->plan_size()), action(D::nu);
  double soft_value = 0;
  PlanStatus status = PlanStatus::ok;
  PlanBatch batch;
  batch.problems = 1;
  batch.observation = x;
  batch.plan = plan;
  batch.action = action;
  batch.value = {&soft_value, 1};
  batch.status = {&status, 1};
  const double before = std::hypot(x[0] - 4, x[1] - 4);
  for (std::uint32_t tick = 0; tick < 400; ++tick) {
    planner->shift(plan);
    planner->solve({1, tick}, batch);
    ASSERT_EQ(status, PlanStatus::ok);
    D::advance(x[0], x[1], x[2], action[0], action[1], x[0], x[1], x[2]);
  }
  EXPECT_LT(std::hypot(x[0] - 4, x[1] - 4), 0.5 * before);
}

}  // namespace
}  // namespace softmpc::tasks
