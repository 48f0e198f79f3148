// SPDX-License-Identifier: Apache-2.0
// Tests src/cpu/kernels.h: each instruction set that this CPU runs, against double, and that the
// bits of a lane do not depend on its place.
#include "cpu/kernels.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "cpu/aligned.h"
#include "random_models.h"
#include "softmpc/hd/bf16.h"
#include "softmpc/hd/math.h"

namespace softmpc::cpu {
namespace {

using softmpc::testing::Random;

std::vector<const Kernels*> runnable() {
  std::vector<const Kernels*> tables = {&kPortableKernels};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    tables.push_back(&kAvx2Kernels);
  else
    std::printf("skipped: this CPU has no AVX2\n");
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
    tables.push_back(&kAvx512Kernels);
  else
    std::printf("skipped: this CPU has no AVX-512\n");
  if (tables.back() == &kAvx512Kernels && __builtin_cpu_supports("avx512bf16"))
    tables.push_back(&kAvx512Bf16Kernels);
  else
    std::printf("skipped: this CPU has no AVX512-BF16\n");
#endif
  return tables;
}

/// A layer with random weights, packed and plain.
struct Layer {
  int in, out;
  Activation activation;
  std::vector<float> plain, bias;  // [out, in], [out]
  AlignedFloats packed, packed_bias;
  std::vector<Bf16Pair> pairs;

  Layer(Random& random, int in_, int out_, Activation a) : in(in_), out(out_), activation(a) {
    plain = random.normals(static_cast<std::size_t>(in) * out, 1 / std::sqrt(in));
    bias = random.normals(static_cast<std::size_t>(out));
    const int rows = groups_of(out) * kGroup;
    packed.resize(static_cast<std::size_t>(rows) * in);
    packed_bias.resize(static_cast<std::size_t>(rows));
    for (int o = 0; o < out; ++o) {
      packed_bias[o] = bias[o];
      for (int i = 0; i < in; ++i)
        packed[(static_cast<std::size_t>(o / kGroup) * in + i) * kGroup + o % kGroup] =
            plain[static_cast<std::size_t>(o) * in + i];
    }
    const int steps = (in + 1) / 2;
    pairs.resize(static_cast<std::size_t>(rows) * steps);
    for (int o = 0; o < out; ++o)
      for (int i = 0; i < in; i += 2)
        pairs[(static_cast<std::size_t>(o / kGroup) * steps + i / 2) * kGroup + o % kGroup] =
            hd::pair_bf16(at(o, i), i + 1 < in ? at(o, i + 1) : 0);
  }
  float at(int o, int i) const { return plain[static_cast<std::size_t>(o) * in + i]; }
  PackedLayer view() const {
    return {packed.data(), packed_bias.data(), pairs.data(), in, out, activation};
  }
  std::size_t rows() const { return packed_bias.size(); }
};

double activate(Activation a, double z) {
  if (a == Activation::silu) return z / (1 + std::exp(-z));
  return a == Activation::tanh ? std::tanh(z) : z;
}

AlignedFloats apply(const Kernels& kernels, const Layer& layer, const AlignedFloats& x, int lanes) {
  AlignedFloats y(layer.rows() * lanes, std::nanf(""));
  kernels.dense(layer.view(), x.data(), lanes, y.data(), lanes, lanes);
  return y;
}

AlignedFloats random_block(Random& random, int rows, int lanes) {
  AlignedFloats x(static_cast<std::size_t>(rows) * lanes);
  for (float& v : x) v = random.normal();
  return x;
}

void compare_dense(const Kernels& kernels, Random& random) {
  const int lanes = kLanes * random.whole(1, 13);
  const Layer layer(random, random.whole(1, 300), random.whole(1, 300),
                    static_cast<Activation>(random.whole(0, 2)));
  SCOPED_TRACE(std::string(kernels.name) + ", " + std::to_string(layer.in) + " -> " +
               std::to_string(layer.out) + ", lanes " + std::to_string(lanes));
  const AlignedFloats x = random_block(random, layer.in, lanes);
  const AlignedFloats y = apply(kernels, layer, x, lanes);
  double worst = 0;
  for (int o = 0; o < layer.out; ++o)
    for (int j = 0; j < lanes; ++j) {
      double sum = layer.bias[o], size = std::abs(sum);
      for (int i = 0; i < layer.in; ++i) {
        const double term =
            static_cast<double>(layer.plain[static_cast<std::size_t>(o) * layer.in + i]) *
            x[static_cast<std::size_t>(i) * lanes + j];
        sum += term;
        size += std::abs(term);
      }
      const double error =
          std::abs(y[static_cast<std::size_t>(o) * lanes + j] - activate(layer.activation, sum));
      // rounding grows at most with the sum of absolute terms; sqrt(in) is what it does
      worst = std::max(worst, error / (size * 6e-8 * (4 + std::sqrt(layer.in))));
    }
  EXPECT_LT(worst, 1);
}

TEST(Kernels, DenseAgreesWithDouble) {
  const std::uint64_t seed = 20240602;
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  for (const Kernels* kernels : runnable()) {
    Random random(seed);
    for (int i = 0; i < 25; ++i) compare_dense(*kernels, random);
  }
}

double rounded(float value) { return hd::from_bf16(hd::to_bf16(value)); }

void compare_dense_bf16(const Kernels& kernels, Random& random) {
  const int lanes = kLanes * random.whole(1, 13);
  const Layer layer(random, random.whole(1, 300), random.whole(1, 300),
                    static_cast<Activation>(random.whole(0, 2)));
  SCOPED_TRACE(std::string(kernels.name) + ", " + std::to_string(layer.in) + " -> " +
               std::to_string(layer.out) + ", lanes " + std::to_string(lanes));
  const AlignedFloats x = random_block(random, layer.in, lanes);
  std::vector<Bf16Pair> in(static_cast<std::size_t>(layer.in + 1) / 2 * lanes);
  std::vector<Bf16Pair> narrow(layer.rows() / 2 * lanes, 0xffffffffu);
  AlignedFloats y(layer.rows() * lanes, std::nanf(""));
  kernels.to_bf16(x.data(), layer.in, lanes, in.data(), lanes, lanes);
  kernels.dense_bf16(layer.view(), in.data(), lanes, y.data(), nullptr, lanes, lanes);
  kernels.dense_bf16(layer.view(), in.data(), lanes, nullptr, narrow.data(), lanes, lanes);
  double worst = 0;
  for (int o = 0; o < layer.out; ++o)
    for (int j = 0; j < lanes; ++j) {
      double sum = layer.bias[o], size = std::abs(sum);
      for (int i = 0; i < layer.in; ++i) {
        const double term =
            rounded(layer.at(o, i)) * rounded(x[static_cast<std::size_t>(i) * lanes + j]);
        sum += term;
        size += std::abs(term);
      }
      const float got = y[static_cast<std::size_t>(o) * lanes + j];
      const double error = std::abs(got - activate(layer.activation, sum));
      worst = std::max(worst, error / (size * 6e-8 * (4 + std::sqrt(layer.in))));
      const Bf16Pair pair = narrow[static_cast<std::size_t>(o / 2) * lanes + j];
      ASSERT_EQ(hd::from_bf16((o % 2 ? pair >> 16 : pair) & 0xffffu), rounded(got));
    }
  EXPECT_LT(worst, 1);
}

TEST(Kernels, Bfloat16ProductsAreThoseOfRoundedOperands) {
  const std::uint64_t seed = 20240603;
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  for (const Kernels* kernels : runnable()) {
    Random random(seed);
    for (int i = 0; i < 25; ++i) compare_dense_bf16(*kernels, random);
  }
}

TEST(Kernels, TransposedProductAgreesWithDouble) {
  for (const Kernels* kernels : runnable()) {
    Random random(21);
    for (int round = 0; round < 20; ++round) {
      const int lanes = kLanes * random.whole(1, 7);
      const Layer layer(random, random.whole(1, 90), random.whole(1, 90), Activation::none);
      AlignedFloats dz = random_block(random, static_cast<int>(layer.rows()), lanes);
      AlignedFloats dx(static_cast<std::size_t>(layer.in) * lanes, std::nanf(""));
      kernels->dense_transposed(layer.view(), dz.data(), dx.data(), lanes, lanes);
      for (int i = 0; i < layer.in; ++i)
        for (int j = 0; j < lanes; ++j) {
          double sum = 0, size = 0;
          for (int o = 0; o < layer.out; ++o) {
            const double term =
                static_cast<double>(layer.at(o, i)) * dz[static_cast<std::size_t>(o) * lanes + j];
            sum += term;
            size += std::abs(term);
          }
          ASSERT_NEAR(dx[static_cast<std::size_t>(i) * lanes + j], sum, 1e-6 * size)
              << kernels->name << ", " << layer.in << " -> " << layer.out;
        }
    }
  }
}

// beta1 = beta2 = 0 leaves the gradient itself in the first moment.
TEST(Kernels, DescentTakesTheGradientAndAnAdamStep) {
  for (const Kernels* kernels : runnable()) {
    Random random(22);
    for (int round = 0; round < 20; ++round) {
      const int in = random.whole(1, 60), out = random.whole(1, 60);
      const int lanes = kLanes * random.whole(1, 4), width = groups_of(out) * kGroup;
      const AlignedFloats h = random_block(random, in, lanes),
                          dz = random_block(random, lanes, width);
      const std::size_t floats = static_cast<std::size_t>(width) * (in + 1);
      const AlignedFloats now(floats, 1.0f);
      AlignedFloats next(floats), mean(floats), variance(floats);
      const hd::AdamStep step = {0, 0, 1e-3f, 0.5f, 2};
      kernels->descend({in, out, lanes, h.data(), dz.data(), now.data(), next.data(), mean.data(),
                        variance.data(), step});
      for (int o = 0; o < width; ++o)
        for (int i = 0; i <= in; ++i) {
          double gradient = 0, size = 0;
          for (int b = 0; b < lanes; ++b) {
            const double term = static_cast<double>(dz[static_cast<std::size_t>(b) * width + o]) *
                                (i < in ? h[static_cast<std::size_t>(i) * lanes + b] : 1.0);
            gradient += term;
            size += std::abs(term);
          }
          const std::size_t at =
              i < in ? (static_cast<std::size_t>(o / kGroup) * in + i) * kGroup + o % kGroup
                     : static_cast<std::size_t>(width) * in + o;
          ASSERT_NEAR(mean[at], gradient, 1e-6 * size) << kernels->name;
          const double g = mean[at];
          ASSERT_NEAR(variance[at], g * g, 1e-6 * g * g);
          ASSERT_NEAR(next[at], 1 - 0.5 * g / (2 * std::abs(g) + 1e-3), 1e-6);
        }
    }
  }
}

TEST(Kernels, SiluAndItsDerivativeAreThoseOfTheFormulas) {
  Random random(23);
  const AlignedFloats z = random_block(random, 7, 48);
  for (const Kernels* kernels : runnable()) {
    AlignedFloats h(z.size()), dh(z.size(), 2.0f);
    kernels->silu(z.data(), h.data(), static_cast<std::int64_t>(z.size()));
    kernels->silu_backward(z.data(), dh.data(), static_cast<std::int64_t>(z.size()));
    for (std::size_t i = 0; i < z.size(); ++i) {
      const double s = 1 / (1 + std::exp(-static_cast<double>(z[i])));
      ASSERT_NEAR(h[i], z[i] * s, 1e-6 * (1 + std::abs(z[i])));
      ASSERT_NEAR(dh[i], 2 * s * (1 + z[i] * (1 - s)), 4e-6);
    }
  }
}

TEST(Kernels, TransposeMovesEveryNumber) {
  Random random(24);
  for (const Kernels* kernels : runnable())
    for (int lanes : {1, 8, 13, 16, 35}) {
      const int rows = kRows * random.whole(1, 5), x_stride = lanes + 3, out_stride = rows + 5;
      const AlignedFloats x = random_block(random, rows, x_stride);
      AlignedFloats out(static_cast<std::size_t>(lanes) * out_stride, 9.0f);
      kernels->transpose(x.data(), rows, x_stride, out.data(), out_stride, lanes);
      for (int j = 0; j < lanes; ++j)
        for (int r = 0; r < out_stride; ++r)
          ASSERT_EQ(out[static_cast<std::size_t>(j) * out_stride + r],
                    r < rows ? x[static_cast<std::size_t>(r) * x_stride + j] : 9.0f)
              << kernels->name << ", " << lanes << " lanes";
    }
}

// Lane j of a block gives the same bits as the same input anywhere in a block of another width.
TEST(Kernels, DenseBitsDoNotDependOnThePlace) {
  for (const Kernels* kernels : runnable()) {
    Random random(7);
    for (Activation a : {Activation::none, Activation::silu, Activation::tanh}) {
      const Layer layer(random, 37, 21, a);
      const int wide = 13 * kLanes;
      const AlignedFloats x = random_block(random, layer.in, wide);
      const AlignedFloats y = apply(*kernels, layer, x, wide);
      for (int lanes = kLanes; lanes < wide; lanes += kLanes) {
        const int shift = random.whole(0, wide - 1);
        AlignedFloats turned(static_cast<std::size_t>(layer.in) * lanes);
        for (int i = 0; i < layer.in; ++i)
          for (int j = 0; j < lanes; ++j)
            turned[static_cast<std::size_t>(i) * lanes + j] =
                x[static_cast<std::size_t>(i) * wide + (j + shift) % wide];
        const AlignedFloats z = apply(*kernels, layer, turned, lanes);
        for (int o = 0; o < layer.out; ++o)
          for (int j = 0; j < lanes; ++j)
            ASSERT_EQ(z[static_cast<std::size_t>(o) * lanes + j],
                      y[static_cast<std::size_t>(o) * wide + (j + shift) % wide])
                << kernels->name << ", lanes " << lanes;
      }
    }
  }
}

// A bad lane stays a bad lane.
TEST(Kernels, NanStaysInItsLane) {
  for (const Kernels* kernels : runnable())
    for (Activation a : {Activation::none, Activation::silu, Activation::tanh}) {
      Random random(3);
      const Layer layer(random, 5, 9, a);
      AlignedFloats x = random_block(random, layer.in, 48);
      x[17] = std::nanf("");
      const AlignedFloats y = apply(*kernels, layer, x, 48);
      for (int o = 0; o < layer.out; ++o)
        for (int j = 0; j < 48; ++j)
          EXPECT_EQ(std::isnan(y[static_cast<std::size_t>(o) * 48 + j]), j == 17) << kernels->name;
    }
}

// The activations of each instruction set keep the bounds of math.h over a wide range.
/// Mean, rate and centred units of one lane, in double.
struct Norm {
  std::vector<double> centred;
  double rate;
  Norm(const AlignedFloats& z, int units, int lanes, int lane) {
    double mean = 0, variance = 0;
    for (int u = 0; u < units; ++u)
      mean += z[static_cast<std::size_t>(u) * lanes + lane] / double(units);
    for (int u = 0; u < units; ++u)
      variance += std::pow(z[static_cast<std::size_t>(u) * lanes + lane] - mean, 2) / units;
    rate = 1 / std::sqrt(variance + 1e-5);
    for (int u = 0; u < units; ++u)
      centred.push_back((z[static_cast<std::size_t>(u) * lanes + lane] - mean) * rate);
  }
};

TEST(Kernels, LayerNormAgreesWithDouble) {
  std::printf("seed 61\n");
  Random random(61);
  for (const Kernels* kernels : runnable())
    for (int round = 0; round < 20; ++round) {
      const int units = random.whole(1, 130), lanes = kLanes * random.whole(1, 5);
      const auto activation = static_cast<Activation>(random.whole(0, 2));
      SCOPED_TRACE(std::string(kernels->name) + ", units " + std::to_string(units));
      const AlignedFloats z = random_block(random, units, lanes);
      const std::vector<float> scale = random.normals(static_cast<std::size_t>(units));
      const std::vector<float> shift = random.normals(static_cast<std::size_t>(units));
      AlignedFloats y = z;
      y.resize(y.size() + lanes, 7.0f);
      kernels->layer_norm({scale.data(), shift.data(), units, activation}, y.data(), y.data(),
                          lanes, lanes);
      for (int j = 0; j < lanes; ++j) {
        const Norm norm(z, units, lanes, j);
        for (int u = 0; u < units; ++u)
          EXPECT_NEAR(y[static_cast<std::size_t>(u) * lanes + j],
                      activate(activation, scale[u] * norm.centred[u] + shift[u]),
                      1e-6 * (1 + norm.rate));
        EXPECT_EQ(y[static_cast<std::size_t>(units) * lanes + j], 7.0f);
      }
    }
}

TEST(Kernels, ActivationsAreAccurate) {
  const int lanes = 1 << 16;
  for (const Kernels* kernels : runnable())
    for (Activation a : {Activation::silu, Activation::tanh}) {
      Random random(1);
      Layer layer(random, 1, 1, a);
      layer.packed[0] = 1;
      layer.packed_bias[0] = 0;
      AlignedFloats x(lanes);
      for (int j = 0; j < lanes; ++j) x[j] = -80 + 160.0f * static_cast<float>(j) / (lanes - 1);
      const AlignedFloats y = apply(*kernels, layer, x, lanes);
      double worst = 0;
      for (int j = 0; j < lanes; ++j) {
        const double exact = activate(a, x[j]);
        const double scale = a == Activation::silu ? std::abs(exact) : 1;
        if (scale > 0) worst = std::max(worst, std::abs(y[j] - exact) / scale);
      }
      EXPECT_LT(worst, 4e-7) << kernels->name;
    }
}

TEST(Kernels, NormalsAreThoseOfTheirKeys) {
  Random random(9);
  const int lanes = 112, stride = 128;
  std::vector<std::uint32_t> problem(lanes), rollout(lanes);
  for (auto& p : problem) p = static_cast<std::uint32_t>(random.whole(0, 1 << 30));
  for (auto& r : rollout) r = static_cast<std::uint32_t>(random.whole(0, 1 << 20));
  const float scale[4] = {1, 0.5f, 2, 3};
  for (const Kernels* kernels : runnable())
    for (int count = 1; count <= 4; ++count) {
      std::vector<float> out(4 * stride, -9);
      const NormalsKey key = {0x123456789abcdefull, 77, hd::draw_word(hd::Stream::noise, 1, 2, 3),
                              problem.data(), rollout.data()};
      kernels->normals(key, scale, count, out.data(), stride, lanes);
      for (int j = 0; j < stride; ++j) {
        float n[4] = {};
        if (j < lanes) {
          const auto bits = hd::philox({key.solve, key.word, problem[j], rollout[j]}, key.seed);
          hd::normal_pair(bits.x, bits.y, n[0], n[1]);
          hd::normal_pair(bits.z, bits.w, n[2], n[3]);
        }
        for (int i = 0; i < 4; ++i) {
          const float got = out[static_cast<std::size_t>(i * stride + j)];
          if (i < count && j < lanes)
            EXPECT_NEAR(got, scale[i] * n[i], 1e-6 * scale[i]) << kernels->name;
          else
            EXPECT_EQ(got, -9) << "written outside its block, " << kernels->name;
        }
      }
    }
}

TEST(Kernels, TheProcessPicksOneThatRuns) {
  const auto tables = runnable();
  EXPECT_NE(std::find(tables.begin(), tables.end(), &kernels()), tables.end());
  std::printf("this process: %s\n", kernels().name);
}

}  // namespace
}  // namespace softmpc::cpu
