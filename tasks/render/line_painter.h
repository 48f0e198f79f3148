// SPDX-License-Identifier: Apache-2.0
// Lines painted over a picture, smooth and of exact colour and order, which OpenGL's are not.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace softmpc::tasks {

class LinePainter {
 public:
  LinePainter(int width, int height)
      : width_(width), height_(height), cover_(std::size_t{1} * width * height) {}

  /// `points` [n, 2] in pixels from the top left corner, `rgb` [height, width, 3].
  void paint(std::span<const double> points, double line_width, const std::array<float, 4>& rgba,
             std::span<std::uint8_t> rgb) {
    for (std::size_t i = 0; i + 4 <= points.size(); i += 2)
      cover(points.data() + i, 0.5 * line_width);
    for (const std::size_t pixel : touched_) {
      const float share = cover_[pixel] * rgba[3];
      for (std::size_t c = 0; c < 3; ++c) {
        std::uint8_t& value = rgb[3 * pixel + c];
        value = static_cast<std::uint8_t>(
            std::lround(static_cast<float>(value) * (1 - share) + 255 * rgba[c] * share));
      }
      cover_[pixel] = 0;
    }
    touched_.clear();
  }

 private:
  /// How much of each pixel the segment covers, where that is more than the line's others do.
  void cover(const double* ends, double radius) {
    const double ax = ends[0], ay = ends[1], dx = ends[2] - ax, dy = ends[3] - ay;
    const double squared = std::max(dx * dx + dy * dy, 1e-12);
    const auto bound = [&](double a, double d, int most, int sign) {
      const double edge =
          (sign < 0 ? std::min(a, a + d) : std::max(a, a + d)) + sign * (radius + 1);
      return static_cast<int>(std::clamp(edge, 0.0, static_cast<double>(most)));
    };
    for (int y = bound(ay, dy, height_ - 1, -1); y <= bound(ay, dy, height_ - 1, 1); ++y)
      for (int x = bound(ax, dx, width_ - 1, -1); x <= bound(ax, dx, width_ - 1, 1); ++x) {
        const double px = x + 0.5 - ax, py = y + 0.5 - ay;
        const double along = std::clamp((px * dx + py * dy) / squared, 0.0, 1.0);
        const double off = std::hypot(px - along * dx, py - along * dy);
        const auto share = static_cast<float>(std::clamp(radius + 0.5 - off, 0.0, 1.0));
        const std::size_t pixel = std::size_t{1} * y * width_ + x;
        if (share <= cover_[pixel]) continue;
        if (cover_[pixel] == 0) touched_.push_back(pixel);
        cover_[pixel] = share;
      }
  }

  int width_, height_;
  std::vector<float> cover_;          // [height, width] of the line that is being painted
  std::vector<std::size_t> touched_;  // where that is not 0
};

}  // namespace softmpc::tasks
