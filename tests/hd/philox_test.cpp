// SPDX-License-Identifier: Apache-2.0
// Tests hd/philox.h: known answers, distribution of the draws, balanced shares, distinct counters.
#include "softmpc/hd/philox.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <random>
#include <set>
#include <vector>

#include <gtest/gtest.h>

namespace softmpc {
namespace {

void expect_words(hd::Philox4 got, std::uint32_t x, std::uint32_t y, std::uint32_t z,
                  std::uint32_t w) {
  EXPECT_EQ(got.x, x);
  EXPECT_EQ(got.y, y);
  EXPECT_EQ(got.z, z);
  EXPECT_EQ(got.w, w);
}

// Random123, kat_vectors: philox4x32 10.
TEST(Philox, PublishedKnownAnswers) {
  expect_words(hd::philox({0, 0, 0, 0}, 0), 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8);
  const std::uint32_t ones = ~0u;
  expect_words(hd::philox({ones, ones, ones, ones}, ~std::uint64_t{0}), 0x408f276d, 0x41c83b0e,
               0xa20bc7c6, 0x6d5451fd);
  expect_words(hd::philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0x299f31d0a4093822ull),
               0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1);
}

TEST(Philox, UniformStaysInItsInterval) {
  EXPECT_GT(hd::uniform(0), 0.0f);
  EXPECT_LT(hd::uniform(~0u), 1.0f);
  float last = 0;
  for (std::uint64_t bits = 0; bits < 1ull << 32; bits += 256) {
    const float u = hd::uniform(static_cast<std::uint32_t>(bits));
    ASSERT_GE(u, last);
    last = u;
  }
}

TEST(Philox, NormalPairIsFiniteForEveryRadius) {
  float largest = 0;
  for (std::uint64_t bits = 0; bits < 1ull << 32; bits += 256) {
    float n0, n1;
    hd::normal_pair(static_cast<std::uint32_t>(bits), 0, n0, n1);
    ASSERT_TRUE(std::isfinite(n0)) << bits;
    ASSERT_GE(n0, 0.0f) << bits;
    largest = std::max(largest, n0);
  }
  EXPECT_GT(largest, 5.7f);
  EXPECT_LT(largest, 6.0f);
}

std::vector<double> draw_normals(int rollouts) {
  std::vector<double> normals;
  for (int k = 0; k < rollouts; ++k) {
    const hd::Philox4 bits = hd::philox(
        {7, hd::draw_word(hd::Stream::noise, 0, 3, 0), 5, static_cast<std::uint32_t>(k)}, 20240601);
    float n[4];
    hd::normal_pair(bits.x, bits.y, n[0], n[1]);
    hd::normal_pair(bits.z, bits.w, n[2], n[3]);
    normals.insert(normals.end(), n, n + 4);
  }
  return normals;
}

TEST(Philox, NormalsHaveTheMomentsOfANormal) {
  const auto normals = draw_normals(250'000);
  const double count = static_cast<double>(normals.size());
  double moment[5] = {};
  for (double n : normals)
    for (int p = 1; p <= 4; ++p) moment[p] += std::pow(n, p) / count;
  // four standard errors each
  EXPECT_NEAR(moment[1], 0, 4 / std::sqrt(count));
  EXPECT_NEAR(moment[2], 1, 4 * std::sqrt(2 / count));
  EXPECT_NEAR(moment[3], 0, 4 * std::sqrt(15 / count));
  EXPECT_NEAR(moment[4], 3, 4 * std::sqrt(96 / count));
}

TEST(Philox, NormalsPassKolmogorovSmirnov) {
  auto normals = draw_normals(250'000);
  std::sort(normals.begin(), normals.end());
  const double count = static_cast<double>(normals.size());
  double distance = 0;
  for (std::size_t i = 0; i < normals.size(); ++i) {
    const double cdf = 0.5 * std::erfc(-normals[i] / std::numbers::sqrt2);
    distance = std::max({distance, std::abs(cdf - static_cast<double>(i) / count),
                         std::abs(cdf - static_cast<double>(i + 1) / count)});
  }
  EXPECT_LT(distance * std::sqrt(count), 1.95);  // 0.1 % level
}

TEST(Philox, NeighbouringNormalsAreUncorrelated) {
  const auto normals = draw_normals(250'000);
  for (std::size_t lag = 1; lag <= 8; ++lag) {
    double sum = 0;
    for (std::size_t i = lag; i < normals.size(); ++i) sum += normals[i] * normals[i - lag];
    EXPECT_LT(std::abs(sum) / std::sqrt(static_cast<double>(normals.size())), 4) << lag;
  }
}

TEST(Philox, RandomActionsAreUniformInTheirBox) {
  constexpr int count = 20000;
  double mean[2] = {}, square[2] = {}, product = 0;
  for (std::uint64_t index = 0; index < count; ++index) {
    double unit[2];
    for (int i = 0; i < 2; ++i) {
      const float a = hd::random_action(3, index, i, -2, 1);
      ASSERT_GT(a, -2);
      ASSERT_LT(a, 1);
      unit[i] = (a + 0.5) / 1.5;
      mean[i] += unit[i] / count;
      square[i] += unit[i] * unit[i] / count;
    }
    product += unit[0] * unit[1] / count;
  }
  const double error = 4 / std::sqrt(3.0 * count);  // of a mean of uniform numbers on (-1, 1)
  for (int i = 0; i < 2; ++i) {
    EXPECT_NEAR(mean[i], 0, error);
    EXPECT_NEAR(square[i], 1.0 / 3, error);
  }
  EXPECT_NEAR(product, 0, error);
  EXPECT_EQ(hd::random_action(3, 7, 0, 0.5f, 0.5f), 0.5f);
}

TEST(Philox, UniformIndexCoversItsRange) {
  for (std::uint32_t n : {1u, 2u, 3u, 7u, 4096u}) {
    EXPECT_EQ(hd::uniform_index(0, n), 0u);
    EXPECT_EQ(hd::uniform_index(~0u, n), n - 1);
  }
}

void expect_bijection(std::uint32_t n, hd::Philox4 key) {
  std::vector<bool> seen(n);
  for (std::uint32_t i = 0; i < n; ++i) {
    const std::uint32_t image = hd::permute(i, n, key);
    ASSERT_LT(image, n) << n;
    ASSERT_FALSE(seen[image]) << n;
    seen[image] = true;
  }
}

TEST(Philox, PermuteIsABijection) {
  for (std::uint32_t n = 1; n <= 200; ++n)
    for (std::uint32_t s = 0; s < 5; ++s) expect_bijection(n, hd::philox({n, s, 0, 0}, 1));
  std::mt19937 random(11);
  for (int i = 0; i < 12; ++i) {
    const std::uint32_t n = 201 + random() % 200'000;
    expect_bijection(n, hd::philox({n, 0, 0, 0}, 2));
  }
  expect_bijection(1u << 16, hd::philox({0, 0, 0, 0}, 3));
  expect_bijection((1u << 16) + 1, hd::philox({0, 0, 0, 0}, 3));
}

TEST(Philox, BalancedSharesDifferByAtMostOne) {
  for (std::uint32_t rollouts : {1u, 2u, 5u, 20u, 60u, 199u, 200u, 600u})
    for (int members : {1, 2, 3, 4, 7})
      for (int step = 0; step < 4; ++step) {
        const auto key = hd::balanced_key(9, 1, 0, step, 3);
        std::vector<int> share(static_cast<std::size_t>(members));
        for (std::uint32_t k = 0; k < rollouts; ++k) {
          const int m = hd::balanced_member(k, rollouts, members, key);
          ASSERT_GE(m, 0);
          ASSERT_LT(m, members);
          ++share[static_cast<std::size_t>(m)];
        }
        const auto [least, most] = std::minmax_element(share.begin(), share.end());
        EXPECT_LE(*most - *least, 1) << rollouts << " rollouts, " << members << " members";
      }
}

// Over many draws no member is preferred, also where the shares cannot be equal.
TEST(Philox, BalancedMembersAreEquallyLikelyForEachRollout) {
  const int draws = 20'000;
  for (std::uint32_t rollouts : {2u, 5u, 20u})
    for (int members : {3, 4, 7})
      for (std::uint32_t rollout : {0u, rollouts - 1}) {
        std::vector<double> count(static_cast<std::size_t>(members));
        for (int d = 0; d < draws; ++d) {
          const auto key = hd::balanced_key(17, static_cast<std::uint32_t>(d), 0, 1, 0);
          const int m = hd::balanced_member(rollout, rollouts, members, key);
          ++count[static_cast<std::size_t>(m)];
        }
        double chi2 = 0;
        const double expected = static_cast<double>(draws) / members;
        for (double c : count) chi2 += (c - expected) * (c - expected) / expected;
        EXPECT_LT(chi2, members - 1 + 5 * std::sqrt(2.0 * (members - 1)))
            << rollouts << " rollouts, " << members << " members, rollout " << rollout;
      }
}

// Particles of a sequence follow different members, and sequences the same ones.
TEST(Philox, ParticlesFollowMembersOfTheirOwn) {
  for (int members : {2, 4, 7})
    for (int particles = 2; particles <= members; ++particles)
      for (std::uint32_t solve = 0; solve < 20; ++solve) {
        const auto key = hd::balanced_key(3, solve, 0, 0, 5);
        std::set<int> of_first, of_last;
        for (int p = 0; p < particles; ++p) {
          const auto first = static_cast<std::uint32_t>(p);
          const std::uint32_t last = first + 9 * static_cast<std::uint32_t>(particles);
          EXPECT_EQ(hd::sequence_of(first, particles), 0u);
          EXPECT_EQ(hd::sequence_of(last, particles), 9u);
          const auto rollouts = 10 * static_cast<std::uint32_t>(particles);
          of_first.insert(hd::rollout_member(first, rollouts, particles, members, key));
          of_last.insert(hd::rollout_member(last, rollouts, particles, members, key));
        }
        EXPECT_EQ(static_cast<int>(of_first.size()), particles);
        EXPECT_EQ(of_first, of_last);
      }
}

TEST(Philox, MembersOfAStepAreEquallyLikely) {
  std::vector<int> count(4);
  for (std::uint32_t solve = 0; solve < 10'000; ++solve)
    ++count[static_cast<std::size_t>(hd::draw_member(1, solve, 0, 2, 4))];
  for (int c : count) EXPECT_NEAR(c, 2500, 5 * std::sqrt(2500 * 0.75));
}

TEST(Philox, DrawWordsNeverCollide) {
  std::set<std::uint32_t> words;
  std::size_t made = 0;
  EXPECT_GE(hd::kMaxStreams, 32);
  for (int stream = 0; stream < hd::kMaxStreams; ++stream)
    for (int iteration : {0, 1, 63, hd::kMaxIterations - 1})
      for (int step : {0, 1, 1023, 1024, hd::kMaxHorizon})
        for (int block : {0, 1, 127, hd::kMaxActionSize / 4 - 1}) {
          words.insert(hd::draw_word(static_cast<hd::Stream>(stream), iteration, step, block));
          ++made;
        }
  EXPECT_EQ(words.size(), made);
}

}  // namespace
}  // namespace softmpc
