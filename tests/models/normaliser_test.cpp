// SPDX-License-Identifier: Apache-2.0
// Tests the running statistics: to the bit those that checkpoints of earlier versions went on from.
#include "normaliser.h"

#include <algorithm>
#include <cmath>
#include <random>

#include <gtest/gtest.h>

namespace softmpc {
namespace {

/// As plainly as it was first written.
struct Plain {
  double count = 0, mean = 0, square = 0;
  void add(float value) {
    count += 1;
    const double before = value - mean;
    mean += before / count;
    square += before * (value - mean);
  }
  float std() const {
    const double deviation = count < 2 ? 0 : std::sqrt(square / count);
    return deviation > 1e-6 * std::max(1.0, std::abs(mean)) ? static_cast<float>(deviation) : 1.0f;
  }
};

TEST(RunningStatistics, KeepTheirBitsAndGoOnFromACheckpoint) {
  const unsigned seed = std::random_device{}();
  std::printf("seed %u\n", seed);
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  const int width = 5;
  const float scale[width] = {1, 1e-3f, 100, 0, 1e-9f}, shift[width] = {0, 1000, -3, 7, 2};
  RunningStatistics statistics(width);
  std::vector<Plain> plain(width);
  std::vector<float> row(width), mean(width), std(width);
  for (int step = 0; step < 300; ++step) {
    for (int i = 0; i < width; ++i) row[i] = shift[i] + scale[i] * normal(random);
    statistics.add(row);
    for (int i = 0; i < width; ++i) plain[i].add(row[i]);
    statistics.write(mean, std);
    for (int i = 0; i < width; ++i) {
      ASSERT_EQ(mean[i], plain[i].count < 2 ? 0.0f : static_cast<float>(plain[i].mean)) << step;
      ASSERT_EQ(std[i], plain[i].std()) << step << ' ' << i;
    }
    if (step % 50 == 49) {
      const std::vector<double> state = statistics.save();
      EXPECT_EQ(state[0], step + 1);
      statistics = RunningStatistics(width);
      statistics.load(state);
    }
  }
  EXPECT_EQ(std[3], 1) << "does not vary";
}

}  // namespace
}  // namespace softmpc
