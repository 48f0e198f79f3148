// SPDX-License-Identifier: Apache-2.0
// Tests for tasks/mujoco_task.cpp: the distributions of start states.
#include <cmath>
#include <functional>
#include <memory>

#include "golden.h"
#include "softmpc/task.h"

namespace softmpc::tasks {
namespace {

using Vector = std::vector<double>;

struct Starts {
  std::vector<Vector> positions, velocities;  // [draws][nq], [draws][nv]
};

Starts draw(const std::string& name, int count) {
  Starts starts;
  const auto env = find_task(name).make_environment({});
  Vector observation(static_cast<std::size_t>(env->observation_size()));
  for (int seed = 0; seed < count; ++seed) {
    env->reset(static_cast<std::uint64_t>(seed), observation);
    env->read_state(starts.positions.emplace_back(), starts.velocities.emplace_back());
  }
  return starts;
}

struct Moments {
  double mean = 0, deviation = 0, low = 1e300, high = -1e300;
};

Moments moments(const std::vector<Vector>& draws, std::size_t i) {
  Moments m;
  double squares = 0;
  for (const Vector& draw : draws) {
    m.mean += draw[i];
    squares += draw[i] * draw[i];
    m.low = std::min(m.low, draw[i]);
    m.high = std::max(m.high, draw[i]);
  }
  const auto n = static_cast<double>(draws.size());
  m.mean /= n;
  m.deviation = std::sqrt(std::max(0.0, squares / n - m.mean * m.mean));
  return m;
}

// mean within 5 standard errors, deviation within 6 %, range inside and nearly filled
void expect_uniform(const Moments& m, double low, double high, std::size_t draws) {
  const double deviation = (high - low) / std::sqrt(12.0);
  EXPECT_NEAR(m.mean, (low + high) / 2, 5 * deviation / std::sqrt(static_cast<double>(draws)));
  EXPECT_NEAR(m.deviation, deviation, 0.06 * deviation);
  EXPECT_GE(m.low, low - 1e-12);
  EXPECT_LE(m.high, high + 1e-12);
  EXPECT_GT(m.high - m.low, 0.98 * (high - low));
}

void expect_normal(const Moments& m, double deviation, std::size_t draws) {
  EXPECT_NEAR(m.mean, 0, 5 * deviation / std::sqrt(static_cast<double>(draws)));
  EXPECT_NEAR(m.deviation, deviation, 0.06 * deviation);
  EXPECT_GT(m.high, 2.5 * deviation);
  EXPECT_LT(m.low, -2.5 * deviation);
}

struct Noise {
  std::string task;
  double scale;
  bool normal_velocity;
};

TEST(StartStates, NoiseAroundTheRestPose) {
  constexpr int count = 2000;
  for (const Noise& noise : std::vector<Noise>{{"InvertedPendulum", 0.01, false},
                                               {"InvertedDoublePendulum", 0.1, true},
                                               {"Swimmer", 0.1, false},
                                               {"Hopper", 5e-3, false},
                                               {"HalfCheetah", 0.1, true},
                                               {"Walker2d", 5e-3, false},
                                               {"Ant", 0.1, true},
                                               {"Humanoid", 0.01, false},
                                               {"HumanoidStandup", 0.01, false}}) {
    SCOPED_TRACE(noise.task);
    const nlohmann::json constants = read_golden("mjmodel/" + noise.task + ".json");
    EXPECT_EQ(constants.at("env_defaults").at("reset_noise_scale").get<double>(), noise.scale);
    const Vector rest = constants.at("qpos0");
    const Starts starts = draw(noise.task, count);
    ASSERT_EQ(starts.positions[0].size(), rest.size());
    for (std::size_t i = 0; i < rest.size(); ++i) {
      SCOPED_TRACE("position " + std::to_string(i));
      expect_uniform(moments(starts.positions, i), rest[i] - noise.scale, rest[i] + noise.scale,
                     count);
    }
    for (std::size_t i = 0; i < starts.velocities[0].size(); ++i) {
      SCOPED_TRACE("velocity " + std::to_string(i));
      const Moments m = moments(starts.velocities, i);
      if (noise.normal_velocity) {
        expect_normal(m, noise.scale, count);
      } else {
        expect_uniform(m, -noise.scale, noise.scale, count);
      }
    }
  }
}

TEST(StartStates, ReacherDrawsItsTargetOnADisc) {
  constexpr int count = 4000;
  const Starts starts = draw("Reacher", count);
  double square = 0;
  for (const Vector& q : starts.positions) {
    const double radius = std::hypot(q[2], q[3]);
    EXPECT_LT(radius, 0.2);
    square += radius * radius;
  }
  EXPECT_NEAR(square / count, 0.2 * 0.2 / 2, 0.05 * 0.02);  // uniform on the disc: R^2 / 2
  for (std::size_t i : {0, 1}) expect_uniform(moments(starts.positions, i), -0.1, 0.1, count);
  for (std::size_t i : {0, 1}) expect_uniform(moments(starts.velocities, i), -0.005, 0.005, count);
  for (std::size_t i : {2, 3}) {
    EXPECT_EQ(moments(starts.velocities, i).deviation, 0);
    EXPECT_NEAR(moments(starts.positions, i).mean, 0, 5 * 0.1 / std::sqrt(count));
  }
}

TEST(StartStates, PusherDrawsItsObjectAwayFromTheGoal) {
  constexpr int count = 4000;
  const Starts starts = draw("Pusher", count);
  for (const Vector& q : starts.positions) {
    EXPECT_GT(std::hypot(q[7], q[8]), 0.17);
    EXPECT_GE(q[7], -0.3);
    EXPECT_LE(q[7], 0);
    EXPECT_LE(std::abs(q[8]), 0.2);
    for (std::size_t i : {0, 1, 2, 3, 4, 5, 6, 9, 10}) EXPECT_EQ(q[i], 0);
  }
  EXPECT_GT(moments(starts.positions, 7).high, -0.05);
  EXPECT_LT(moments(starts.positions, 7).low, -0.29);
  for (std::size_t i = 0; i < 7; ++i) {
    expect_uniform(moments(starts.velocities, i), -0.005, 0.005, count);
  }
  for (std::size_t i = 7; i < 11; ++i) EXPECT_EQ(moments(starts.velocities, i).deviation, 0);
}

TEST(StartStates, PositionsAndVelocitiesAreIndependentOfEachOther) {
  const Starts starts = draw("InvertedDoublePendulum", 4000);
  for (std::size_t i = 0; i < 3; ++i) {
    for (std::size_t j = 0; j < 3; ++j) {
      double product = 0;
      for (std::size_t k = 0; k < starts.positions.size(); ++k) {
        product += starts.positions[k][i] * starts.velocities[k][j];
      }
      const double correlation = product / 4000 / (0.1 / std::sqrt(3.0) * 0.1);
      EXPECT_NEAR(correlation, 0, 5 / std::sqrt(4000.0));
    }
  }
}

}  // namespace
}  // namespace softmpc::tasks
