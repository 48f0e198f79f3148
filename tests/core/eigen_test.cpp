// SPDX-License-Identifier: Apache-2.0
// Tests for softmpc/eigen.h: array expressions over blocks of lanes against loops.
#include "softmpc/eigen.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace softmpc {
namespace {

/// A block of `lanes` in memory for `stride`, with marks in between.
struct Block {
  Block(int components, int stride_, std::mt19937& engine)
      : values(static_cast<std::size_t>(components) * stride_), stride(stride_) {
    std::uniform_real_distribution<float> uniform(-2, 2);
    for (float& value : values) value = uniform(engine);
  }
  Columns columns() { return {values.data(), stride}; }

  std::vector<float> values;
  int stride;
};

TEST(Eigen, RowsAndBlocksAreTheLanes) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 engine(seed);
  for (int round = 0; round < 20; ++round) {
    const int n = std::uniform_int_distribution(1, 6)(engine);
    const int count = std::uniform_int_distribution(1, 40)(engine);
    const int stride = count + std::uniform_int_distribution(0, 8)(engine);
    Block x(n, stride, engine), a(1, stride, engine);
    const ConstColumns in = x.columns();
    std::vector<float> out(static_cast<std::size_t>(count));
    row(out.data(), count) =
        -rows(in, n, count).square().colwise().sum() - 0.1f * row(a.columns(), 0, count).square();
    for (int j = 0; j < count; ++j) {
      float sum = 0;
      for (int i = 0; i < n; ++i) sum += in[i][j] * in[i][j];
      EXPECT_NEAR(out[static_cast<std::size_t>(j)], -sum - 0.1f * a.values[j] * a.values[j], 1e-5);
    }
  }
}

TEST(Eigen, WritesStayInsideTheLanes) {
  std::mt19937 engine(1);
  Block x(3, 10, engine);
  const std::vector<float> before = x.values;
  const int count = 7;
  rows(x.columns(), 3, count) += 1;
  row(x.columns(), 2, count) = 5;
  for (int i = 0; i < 3; ++i) {
    for (int j = 0; j < 10; ++j) {
      const auto at = static_cast<std::size_t>(i * 10 + j);
      const float expected = j >= count ? before[at] : i == 2 ? 5 : before[at] + 1;
      EXPECT_EQ(x.values[at], expected) << i << ' ' << j;
    }
  }
}

}  // namespace
}  // namespace softmpc
