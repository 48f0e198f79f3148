// SPDX-License-Identifier: Apache-2.0
// Pictures of a task: its robot at some positions, lines drawn over it, and words.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace softmpc {

struct RendererOptions {
  int width = 640, height = 480;  ///< pixels, 16..4096 and even
  bool good = true;               ///< shadows and smooth edges; without them 4 times as fast
};

/// A line through the scene, drawn over everything that would hide it.
struct PictureLine {
  std::vector<double> points;  ///< [n, 3] m
  std::array<float, 4> rgba = {1, 1, 1, 1};
  double width = 2;  ///< pixels, in a picture of 480 rows
};

struct PictureText {
  std::string text;  ///< printable ASCII
  std::array<float, 3> rgb = {1, 1, 1};
};

struct Picture {
  std::span<const double> positions;  ///< [nq] as Environment::read_state() gives them
  std::vector<PictureLine> lines;     ///< later ones over earlier ones
  std::vector<PictureText> top;       ///< lines of writing, from the top left corner down
  std::vector<PictureText> bottom;    ///< the same, down to the bottom left corner
};

/// Draws one task. One thread at a time, the one that made it.
class Renderer {
 public:
  virtual ~Renderer() = default;
  Renderer() = default;
  Renderer(const Renderer&) = delete;
  Renderer& operator=(const Renderer&) = delete;

  /// Points P of the robot whose paths are worth a line, such as torso and foot.
  virtual int traced_points() const = 0;
  /// Where they are: `points` [P, 3] m out.
  virtual void trace(std::span<const double> positions, std::span<double> points) = 0;
  /// Whether the observation leaves positions out, which follow() then adds up from velocities.
  virtual bool adds_up() const = 0;
  /// `positions` [nq] from those at the observation `before` [nx] to those at `after` [nx], the
  /// next control step's.
  virtual void follow(std::span<const float> before, std::span<const float> after,
                      std::span<double> positions) const = 0;
  /// `rgb` [height, width, 3] out, from the top row down. The same picture gives the same bytes.
  virtual void draw(const Picture& picture, std::span<std::uint8_t> rgb) = 0;
};

}  // namespace softmpc
