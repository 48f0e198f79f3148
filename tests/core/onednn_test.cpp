// SPDX-License-Identifier: Apache-2.0
// Tests src/onednn: against double with operands rounded to bfloat16, that the bits of a lane
// depend neither on its place nor on threads, and that PackedMlp rounds between hidden layers
// alone.
#include "onednn/onednn_mlp.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "cpu/aligned.h"
#include "cpu/packed_mlp.h"
#include "random_models.h"
#include "softmpc/error.h"

namespace softmpc {
namespace {

using testing::Random;

#define SKIP_WITHOUT_ONEDNN()                                          \
  if (!OneDnnMlp::built()) GTEST_SKIP() << "this build has no oneDNN"; \
  if (!OneDnnMlp::usable()) GTEST_SKIP() << "oneDNN has no bfloat16 products for this CPU"

double bf16(double value) {  // float32, then 8 bits of mantissa, ties to even
  std::uint32_t bits;
  const float f = static_cast<float>(value);
  std::memcpy(&bits, &f, sizeof bits);
  bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u;
  float rounded;
  std::memcpy(&rounded, &bits, sizeof rounded);
  return rounded;
}

std::vector<int> widths_of(const NetSpec& spec) {
  std::vector<int> widths = {spec.inputs};
  for (const LayerSpec& layer : spec.layers) widths.push_back(layer.width);
  return widths;
}

/// Hidden layers; and the same weights in the kernels' order, which OneDnnMlp reads.
struct Net {
  NetWeights weights;
  PackedMlp packed;
  OneDnnMlp net;

  explicit Net(const NetWeights& w)
      : weights(w), packed(w, Activation::silu), net(w.stack, widths_of(w.spec)) {
    for (int e = 0; e < weights.stack; ++e)
      for (int l = 0; l < weights.layers(); ++l) net.load(e, l, packed.layer(e, l));
  }
  int inputs() const { return weights.inputs(); }
  int outputs() const { return weights.outputs(); }
};

std::vector<int> random_widths(Random& random) {
  std::vector<int> sizes;
  for (int l = random.whole(2, 4); l > 0; --l) sizes.push_back(random.whole(1, 300));
  return sizes;
}

/// One layer's z from x; operands rounded or not.
std::vector<double> product(const NetWeights& w, int index, int l, const std::vector<double>& x,
                            bool narrow) {
  const std::size_t in = w.spec.inputs_of(l), out = w.spec.layers[l].width;
  std::vector<double> z(out);
  for (std::size_t o = 0; o < out; ++o) {
    z[o] = w.bias(l)[index * out + o];
    for (std::size_t i = 0; i < in; ++i) {
      const double weight = w.weight(l)[(index * out + o) * in + i];
      z[o] += narrow ? bf16(weight) * bf16(x[i]) : weight * x[i];
    }
  }
  return z;
}

void apply_silu(std::vector<double>& z) {
  for (double& v : z) v /= 1 + std::exp(-v);
}

std::vector<double> lane(const float* x, int rows, int lanes, int j) {
  std::vector<double> values;
  for (int i = 0; i < rows; ++i) values.push_back(x[static_cast<std::size_t>(i) * lanes + j]);
  return values;
}

/// Whole kRows, zero beyond `rows`.
cpu::AlignedFloats random_block(Random& random, int rows, int lanes) {
  cpu::AlignedFloats x(static_cast<std::size_t>(cpu::pad_rows(rows)) * lanes);
  for (int k = 0; k < rows * lanes; ++k) x[k] = random.normal();
  return x;
}

/// [outputs, lanes] of network `index`.
std::vector<float> run(const Net& net, int index, const cpu::AlignedFloats& x, int lanes) {
  const std::size_t rows = cpu::pad_rows(net.outputs());
  std::vector<float> y(rows * lanes, std::nanf(""));
  net.net.run(index, x.data(), y.data(), lanes);
  y.resize(static_cast<std::size_t>(net.outputs()) * lanes);
  return y;
}

/// Errors against an oracle. A float32 sum may tip the rounding of a hidden output, a bfloat16 step
/// in a few terms, but seldom: operands that are rounded otherwise err tenfold.
struct Errors {
  double squares = 0;
  int count = 0;

  void add(const float* y, int lanes, int j, const std::vector<double>& exact, int outputs) {
    for (int o = 0; o < outputs; ++o, ++count) {
      const double error = y[static_cast<std::size_t>(o) * lanes + j] - exact[o];
      squares += error * error;
      ASSERT_LT(std::abs(error), 4e-3) << "lane " << j << ", output " << o;
    }
  }
  double mean() const { return std::sqrt(squares / count); }
};

void compare(const std::vector<int>& widths, Random& random) {
  const Net net(testing::random_weights(random, random.whole(1, 3), NetSpec::mlp(widths)));
  const int lanes = cpu::kLanes * random.whole(1, 13);
  const cpu::AlignedFloats x = random_block(random, net.inputs(), lanes);
  Errors errors;
  for (int e = 0; e < net.weights.stack; ++e) {
    const std::vector<float> y = run(net, e, x, lanes);
    for (int j = 0; j < lanes; j += 1 + lanes / 20) {
      std::vector<double> h = lane(x.data(), net.inputs(), lanes, j);
      for (int l = 0; l < net.weights.layers(); ++l) {
        h = product(net.weights, e, l, h, true);
        apply_silu(h);
      }
      errors.add(y.data(), lanes, j, h, net.outputs());
    }
  }
  EXPECT_LT(errors.mean(), 2e-4);
}

TEST(OneDnnMlp, AgreesWithDoubleOfRoundedOperands) {
  SKIP_WITHOUT_ONEDNN();
  std::printf("AMX: %s; seeds 1 to 30\n", OneDnnMlp::has_amx() ? "yes" : "no");
  Random fixed(31);
  for (const std::vector<int>& widths :
       std::vector<std::vector<int>>{{33, 33}, {33, 47, 33}, {1, 1}, {8, 7, 9}, {256, 256, 256}})
    compare(widths, fixed);
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    const std::vector<int> widths = random_widths(random);
    compare(widths, random);
  }
}

TEST(OneDnnMlp, BitsDoNotDependOnThePlace) {
  SKIP_WITHOUT_ONEDNN();
  Random random(5);
  for (const std::vector<int>& sizes :
       std::vector<std::vector<int>>{{256, 256}, {37, 130, 21}, {33, 513, 64}}) {
    const Net net(testing::random_weights(random, 1, NetSpec::mlp(sizes)));
    const int wide = 13 * cpu::kLanes, in = net.inputs(), out = net.outputs();
    const cpu::AlignedFloats x = random_block(random, in, wide);
    const std::vector<float> y = run(net, 0, x, wide);
    for (int lanes = cpu::kLanes; lanes < wide; lanes += cpu::kLanes) {
      const int shift = random.whole(0, wide - 1);
      cpu::AlignedFloats turned(static_cast<std::size_t>(cpu::pad_rows(in)) * lanes);
      for (int i = 0; i < in; ++i)
        for (int j = 0; j < lanes; ++j)
          turned[static_cast<std::size_t>(i) * lanes + j] =
              x[static_cast<std::size_t>(i) * wide + (j + shift) % wide];
      const std::vector<float> z = run(net, 0, turned, lanes);
      for (int o = 0; o < out; ++o)
        for (int j = 0; j < lanes; ++j)
          ASSERT_EQ(z[static_cast<std::size_t>(o) * lanes + j],
                    y[static_cast<std::size_t>(o) * wide + (j + shift) % wide])
              << "lanes " << lanes;
    }
  }
}

TEST(OneDnnMlp, ThreadsRunAtOnceWithTheSameBits) {
  SKIP_WITHOUT_ONEDNN();
  Random random(6);
  const Net net(testing::random_weights(random, 3, NetSpec::mlp({256, 256, 256})));
  const int lanes = 48;
  const cpu::AlignedFloats x = random_block(random, net.inputs(), lanes);
  std::vector<std::vector<float>> expected;
  for (int e = 0; e < 3; ++e) expected.push_back(run(net, e, x, lanes));
  std::vector<int> wrong(4);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int k = t; k < t + 60; ++k) wrong[t] += run(net, k % 3, x, lanes) != expected[k % 3];
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4));
}

// Bits and timing must not depend on a team that oneDNN would start.
TEST(OneDnnMlp, StartsNoThread) {
  SKIP_WITHOUT_ONEDNN();
  const auto threads = [] {
    int count = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task"))
      count += entry.is_directory();
    return count;
  };
  Random random(7);
  const int before = threads();
  const Net net(testing::random_weights(random, 1, NetSpec::mlp({256, 256, 256})));
  run(net, 0, random_block(random, 256, 192), 192);
  EXPECT_EQ(threads(), before);
}

TEST(OneDnnMlp, LoadsNewWeights) {
  SKIP_WITHOUT_ONEDNN();
  Random random(8);
  const NetWeights after = testing::random_weights(random, 2, NetSpec::mlp({40, 33, 6}));
  Net net(testing::random_weights(random, 2, NetSpec::mlp({40, 33, 6})));
  const Net fresh(after);
  net.packed.update(after);
  std::vector<std::thread> threads;  // as a trainer does
  for (int e = 0; e < 2; ++e)
    threads.emplace_back([&net, e] {
      for (int k = 0; k < 50; ++k)
        for (int l = 0; l < 2; ++l) net.net.load(e, l, net.packed.layer(e, l));
    });
  for (auto& thread : threads) thread.join();
  const cpu::AlignedFloats x = random_block(random, 40, 32);
  for (int e = 0; e < 2; ++e) EXPECT_EQ(run(net, e, x, 32), run(fresh, e, x, 32));
}

TEST(OneDnnMlp, ABadLaneStaysABadLane) {
  SKIP_WITHOUT_ONEDNN();
  Random random(9);
  const Net net(testing::random_weights(random, 1, NetSpec::mlp({3, 20, 2})));
  cpu::AlignedFloats x = random_block(random, 3, 16);
  const std::vector<float> y = run(net, 0, x, 16);
  x[5] = std::nanf("");
  const std::vector<float> z = run(net, 0, x, 16);
  for (int k = 0; k < 32; ++k) {
    EXPECT_EQ(std::isnan(z[k]), k % 16 == 5);
    if (k % 16 != 5) {
      EXPECT_EQ(z[k], y[k]);
    }
  }
}

TEST(OneDnnMlp, PadsRowsWithZeros) {
  SKIP_WITHOUT_ONEDNN();
  Random random(10);
  const Net net(testing::random_weights(random, 1, NetSpec::mlp({33, 35})));
  const int lanes = 80;
  const cpu::AlignedFloats x = random_block(random, 33, lanes);
  std::vector<float> y(static_cast<std::size_t>(41) * lanes, 7.0f);
  net.net.run(0, x.data(), y.data(), lanes);
  for (int k = 35 * lanes; k < 40 * lanes; ++k) ASSERT_EQ(y[k], 0.0f);
  for (int k = 40 * lanes; k < 41 * lanes; ++k) ASSERT_EQ(y[k], 7.0f);
}

/// PackedMlp in bfloat16, which rounds between hidden layers alone; normalisation and wanted
/// outputs included.
void compare_packed(const std::vector<int>& sizes, Activation activation, Random& random) {
  const int outputs = std::max(1, sizes.back() - 1), lanes = cpu::kLanes * random.whole(1, 9);
  PackedMlp net(testing::random_weights(random, 2, NetSpec::mlp(sizes), 1.2, true), activation,
                outputs, Precision::bfloat16);
  NetWeights w = testing::random_weights(random, 2, NetSpec::mlp(sizes), 1.2, true);
  w.normalisation.input_std[0] = std::numeric_limits<float>::infinity();
  net.update(w);
  Errors errors;
  for (int e = 0; e < 2; ++e) {
    cpu::AlignedFloats scratch(net.scratch_floats(lanes), std::nanf(""));
    const cpu::AlignedFloats x = random_block(random, net.inputs(), lanes);
    std::copy(x.begin(), x.begin() + net.inputs() * lanes, net.input(scratch.data()));
    scratch[0] = std::nanf("");  // masked
    const float* y = net.run(e, scratch.data(), lanes);
    for (int j = 0; j < lanes; j += 1 + lanes / 20) {
      std::vector<double> h = lane(x.data(), net.inputs(), lanes, j);
      for (int i = 0; i < net.inputs(); ++i)
        h[i] = i == 0 ? 0 : (h[i] - w.normalisation.input_mean[i]) / w.normalisation.input_std[i];
      for (int l = 0; l < w.layers(); ++l) {
        h = product(w, e, l, h, l > 0 && l + 1 < w.layers());
        if (l + 1 < w.layers()) apply_silu(h);
      }
      for (int o = 0; o < w.outputs(); ++o) {
        h[o] = w.normalisation.output_mean[o] + w.normalisation.output_std[o] * h[o];
        if (activation == Activation::tanh) h[o] = std::tanh(h[o]);
      }
      errors.add(y, lanes, j, h, outputs);
    }
  }
  EXPECT_LT(errors.mean(), sizes.size() > 3 ? 2e-4 : 2e-6);
}

// Through oneDNN with SOFTMPC_ISA=onednn or on a CPU with AMX, else by our own kernels.
TEST(OneDnnMlp, PackedMlpRoundsBetweenHiddenLayersAlone) {
  std::printf("oneDNN: %s; seed 11\n", cpu::through_onednn() ? "yes" : "no");
  Random random(11);
  for (const std::vector<int>& sizes : std::vector<std::vector<int>>{{15, 256, 256, 12},
                                                                     {5, 33, 33, 7},
                                                                     {9, 1, 100, 1, 2},
                                                                     {40, 65, 129, 31, 3},
                                                                     {6, 50, 4},
                                                                     {6, 4}})
    for (Activation a : {Activation::none, Activation::tanh}) {
      SCOPED_TRACE("hidden " + std::to_string(sizes[1]));
      compare_packed(sizes, a, random);
    }
}

TEST(OneDnnMlp, ABuildWithoutItSaysSo) {
  if (OneDnnMlp::built()) GTEST_SKIP() << "this build has oneDNN";
  EXPECT_FALSE(OneDnnMlp::usable());
  EXPECT_FALSE(OneDnnMlp::has_amx());
  try {
    const OneDnnMlp net(1, {1, 1});
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("SOFTMPC_WITH_ONEDNN"), std::string::npos);
  }
}

}  // namespace
}  // namespace softmpc
