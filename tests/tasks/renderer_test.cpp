// SPDX-License-Identifier: Apache-2.0
// Tests of the tasks' pictures: each shows its robot, traced points lie on it, and positions follow
// from observations as the simulator has them.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <set>

#include "softmpc/error.h"
#include "softmpc/task.h"

namespace softmpc {
namespace {

constexpr RendererOptions kSmall = {96, 72, false};
using Pixels = std::vector<std::uint8_t>;

/// A task's renderer; null, and the test skipped, where this system cannot draw.
std::unique_ptr<Renderer> renderer_of(const Task& task, const TaskOptions& options,
                                      const RendererOptions& wanted = kSmall) {
  try {
    return task.make_renderer(options, wanted);
  } catch (const Error& error) {
    const std::string what = error.what();
    if (what.find("pictures cannot be drawn") == std::string::npos) throw;
    return nullptr;
  }
}

Pixels drawn(Renderer& renderer, const Picture& picture, const RendererOptions& size = kSmall) {
  Pixels rgb(std::size_t{3} * size.width * size.height);
  renderer.draw(picture, rgb);
  return rgb;
}

int different_pixels(const Pixels& a, const Pixels& b) {
  int count = 0;
  for (std::size_t i = 0; i < a.size(); i += 3)
    count += a[i] != b[i] || a[i + 1] != b[i + 1] || a[i + 2] != b[i + 2];
  return count;
}

struct Start {
  std::unique_ptr<Environment> environment;
  std::vector<double> observation, positions, velocities;
};

Start start(const Task& task, const TaskOptions& options) {
  Start s;
  s.environment = task.make_environment(options);
  s.observation.resize(static_cast<std::size_t>(s.environment->observation_size()));
  s.environment->reset(7, s.observation);
  s.environment->read_state(s.positions, s.velocities);
  return s;
}

TEST(Renderer, EveryTaskShowsItsRobot) {
  for (const std::string& name : task_names()) {
    SCOPED_TRACE(name);
    const Task& task = find_task(name);
    const auto renderer = renderer_of(task, {});
    if (!renderer) GTEST_SKIP() << "this system cannot draw: no EGL and no OSMesa";
    const Start s = start(task, {});
    const Pixels rgb =
        drawn(*renderer, {.positions = s.positions, .lines = {}, .top = {}, .bottom = {}});
    std::set<int> colours;
    for (std::size_t i = 0; i < rgb.size(); i += 3)
      colours.insert(rgb[i] << 16 | rgb[i + 1] << 8 | rgb[i + 2]);
    EXPECT_GT(colours.size(), 50u);
    EXPECT_EQ(drawn(*renderer, {.positions = s.positions, .lines = {}, .top = {}, .bottom = {}}),
              rgb);
    // a robot that bends is seen to bend
    std::vector<double> moved = s.positions;
    for (double& q : moved) q += 0.4;
    EXPECT_GT(
        different_pixels(
            drawn(*renderer, {.positions = moved, .lines = {}, .top = {}, .bottom = {}}), rgb),
        15);
  }
}

TEST(Renderer, TracedPointsMoveWithTheRobotAndLieInThePicture) {
  for (const std::string& name : task_names()) {
    SCOPED_TRACE(name);
    const Task& task = find_task(name);
    const auto renderer = renderer_of(task, {});
    if (!renderer) GTEST_SKIP() << "this system cannot draw: no EGL and no OSMesa";
    const Start s = start(task, {});
    const auto points = static_cast<std::size_t>(renderer->traced_points());
    ASSERT_GE(points, 1u);
    std::vector<double> here(3 * points), there(3 * points);
    renderer->trace(s.positions, here);
    std::vector<double> moved = s.positions;
    for (double& q : moved) q += 0.1;
    renderer->trace(moved, there);
    Picture plain, lined;
    plain.positions = lined.positions = s.positions;
    for (std::size_t p = 0; p < points; ++p) {
      double distance = 0;
      PictureLine line;
      for (std::size_t c = 0; c < 3; ++c) {
        distance = std::hypot(distance, there[3 * p + c] - here[3 * p + c]);
        line.points.push_back(here[3 * p + c]);
      }
      EXPECT_GT(distance, 0.01) << p;
      for (std::size_t c = 0; c < 3; ++c) line.points.push_back(there[3 * p + c]);
      lined.lines.push_back(line);
    }
    EXPECT_GT(different_pixels(drawn(*renderer, plain), drawn(*renderer, lined)), 3);
  }
}

TEST(Renderer, PositionsFollowFromObservations) {
  for (const std::string& name : task_names())
    for (const bool shown : {true, false}) {
      SCOPED_TRACE(name + (shown ? "" : " without positions"));
      const Task& task = find_task(name);
      const TaskOptions options = {.positions = shown};
      const auto renderer = renderer_of(task, options);
      if (!renderer) GTEST_SKIP() << "this system cannot draw: no EGL and no OSMesa";
      Start s = start(task, options);
      std::vector<double> followed = s.positions;
      const std::vector<float> action(static_cast<std::size_t>(s.environment->action_size()), 0.3f);
      for (int t = 0; t < 4; ++t) {
        const std::vector<float> before(s.observation.begin(), s.observation.end());
        s.environment->step(action, s.observation);
        const std::vector<float> after(s.observation.begin(), s.observation.end());
        renderer->follow(before, after, followed);
        s.environment->read_state(s.positions, s.velocities);
        std::vector<double> traced(3 * renderer->traced_points()), expected = traced;
        renderer->trace(followed, traced);
        renderer->trace(s.positions, expected);
        // observed positions are single precision; those added up are wrong by what velocities bend
        const double most = renderer->adds_up() ? 0.02 : 1e-5;
        for (std::size_t i = 0; i < traced.size(); ++i)
          EXPECT_NEAR(traced[i], expected[i], most) << "step " << t << ", entry " << i;
      }
      EXPECT_EQ(renderer->adds_up(),
                !shown && task.spec({.positions = true}).nx != task.spec(options).nx);
    }
}

TEST(Renderer, LinesAreSeenThroughTheRobotAndTextIsWritten) {
  const Task& task = find_task("Hopper");
  const RendererOptions size = {320, 240, false};
  const auto renderer = renderer_of(task, {}, size);
  if (!renderer) GTEST_SKIP() << "this system cannot draw: no EGL and no OSMesa";
  const Start s = start(task, {});
  Picture plain;
  plain.positions = s.positions;
  Picture lined = plain;
  lined.lines.push_back({{0, 0, 0.2, 0, 0, 1.3}, {1, 0, 0, 1}, 3});  // inside leg and torso
  const Pixels without = drawn(*renderer, plain, size), with = drawn(*renderer, lined, size);
  EXPECT_GT(different_pixels(without, with), 150);
  Picture written = plain;
  written.top.push_back({"a line of writing", {1, 1, 1}});
  EXPECT_GT(different_pixels(without, drawn(*renderer, written, size)), 100);
}

TEST(Renderer, SaysWhatIsWrong) {
  struct Plain final : Task {
    TaskSpec spec(const TaskOptions&) const override {
      return {
          .name = "plain", .summary = {}, .action_low = {}, .action_high = {}, .best_return = {}};
    }
    std::unique_ptr<Environment> make_environment(const TaskOptions&) const override { return {}; }
    std::unique_ptr<RewardModel> make_reward(const TaskOptions&) const override { return {}; }
    std::unique_ptr<DynamicsModel> make_dynamics(const TaskOptions&) const override { return {}; }
  };
  const auto message = [](const Task& task) -> std::string {
    try {
      task.make_renderer({}, kSmall);
    } catch (const Error& error) {
      return error.what();
    }
    return {};
  };
  EXPECT_EQ(message(Plain{}), "plain: this task has no picture");
  ::setenv("SOFTMPC_GL", "glx", 1);
  EXPECT_EQ(message(find_task("Hopper")), "SOFTMPC_GL is 'glx', must be egl or osmesa");
  ::unsetenv("SOFTMPC_GL");
}

}  // namespace
}  // namespace softmpc
