// SPDX-License-Identifier: Apache-2.0
// Tests src/onednn: against double with operands rounded to bfloat16, and that the bits of a lane
// depend neither on its place nor on threads.
#include "onednn/onednn_mlp.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "cpu/aligned.h"
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

struct Case {
  MlpWeights weights;
  cpu::Activation activation;
  int outputs;
};

Case random_case(Random& random) {
  std::vector<int> sizes = {random.whole(1, 40)};
  for (int l = random.whole(0, 3); l > 0; --l) sizes.push_back(random.whole(1, 300));
  sizes.push_back(random.whole(1, 30));
  const int outputs = random.whole(1, sizes.back());
  return {testing::random_weights(random, random.whole(1, 3), sizes, 1.2, random.coin()),
          random.coin() ? cpu::Activation::none : cpu::Activation::tanh, outputs};
}

std::vector<double> oracle(const Case& c, int index, const std::vector<double>& input) {
  const MlpWeights& w = c.weights;
  std::vector<double> x(input.size());
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = (input[i] - w.input_mean[i]) / w.input_std[i];
  for (int l = 0; l < w.layers(); ++l) {
    const bool last = l + 1 == w.layers(), tanh = last && c.activation == cpu::Activation::tanh;
    const std::size_t in = w.sizes[l], out = w.sizes[l + 1];
    std::vector<double> y(last ? c.outputs : out);
    for (std::size_t o = 0; o < y.size(); ++o) {
      const float scale = tanh ? w.output_std[o] : 1;
      y[o] = scale * w.bias[l][index * out + o] + (tanh ? w.output_mean[o] : 0);
      for (std::size_t i = 0; i < in; ++i)
        y[o] += bf16(scale * w.weight[l][(index * out + o) * in + i]) * bf16(x[i]);
      if (!last) y[o] /= 1 + std::exp(-y[o]);
      if (tanh) y[o] = std::tanh(y[o]);
      if (last && !tanh) y[o] = w.output_mean[o] + w.output_std[o] * y[o];
    }
    x = std::move(y);
  }
  return x;
}

cpu::AlignedFloats random_block(Random& random, int rows, int lanes) {
  cpu::AlignedFloats x(static_cast<std::size_t>(rows) * lanes);
  for (float& v : x) v = random.normal();
  return x;
}

/// [outputs, lanes] of network `index`.
std::vector<float> run(const OneDnnMlp& net, int outputs, int index, const cpu::AlignedFloats& x,
                       int lanes) {
  cpu::AlignedFloats scratch(net.scratch_floats(lanes));
  std::copy(x.begin(), x.end(), scratch.begin());
  const float* y = net.run(index, scratch.data(), lanes);
  return {y, y + static_cast<std::size_t>(outputs) * lanes};
}

void compare(std::uint64_t seed) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  Random random(seed);
  const Case c = random_case(random);
  const int lanes = cpu::kLanes * random.whole(1, 13), in = c.weights.inputs();
  const OneDnnMlp net(c.weights, c.activation, c.outputs);
  const cpu::AlignedFloats x = random_block(random, in, lanes);
  for (int e = 0; e < c.weights.stack; ++e) {
    const std::vector<float> y = run(net, c.outputs, e, x, lanes);
    for (int j = 0; j < lanes; j += 1 + lanes / 20) {
      std::vector<double> input;
      for (int i = 0; i < in; ++i) input.push_back(x[static_cast<std::size_t>(i) * lanes + j]);
      const std::vector<double> exact = oracle(c, e, input);
      // float32 sums may tip the rounding of a hidden output: one bfloat16 step of one term
      for (int o = 0; o < c.outputs; ++o)
        ASSERT_NEAR(y[static_cast<std::size_t>(o) * lanes + j], exact[o], 4e-3)
            << "network " << e << ", lane " << j << ", output " << o;
    }
  }
}

TEST(OneDnnMlp, AgreesWithDoubleOfRoundedOperands) {
  SKIP_WITHOUT_ONEDNN();
  std::printf("AMX: %s; seeds 1 to 30\n", OneDnnMlp::has_amx() ? "yes" : "no");
  for (std::uint64_t seed = 1; seed <= 30; ++seed) compare(seed);
}

TEST(OneDnnMlp, BitsDoNotDependOnThePlace) {
  SKIP_WITHOUT_ONEDNN();
  Random random(5);
  for (const std::vector<int>& sizes :
       std::vector<std::vector<int>>{{15, 256, 256, 12}, {37, 130, 21}, {7, 513, 64, 1}}) {
    const MlpWeights w = testing::random_weights(random, 1, sizes);
    const OneDnnMlp net(w, cpu::Activation::none);
    const int wide = 13 * cpu::kLanes, in = w.inputs(), out = w.outputs();
    const cpu::AlignedFloats x = random_block(random, in, wide);
    const std::vector<float> y = run(net, out, 0, x, wide);
    for (int lanes = cpu::kLanes; lanes < wide; lanes += cpu::kLanes) {
      const int shift = random.whole(0, wide - 1);
      cpu::AlignedFloats turned(static_cast<std::size_t>(in) * lanes);
      for (int i = 0; i < in; ++i)
        for (int j = 0; j < lanes; ++j)
          turned[static_cast<std::size_t>(i) * lanes + j] =
              x[static_cast<std::size_t>(i) * wide + (j + shift) % wide];
      const std::vector<float> z = run(net, out, 0, turned, lanes);
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
  const MlpWeights w = testing::random_weights(random, 3, {15, 256, 256, 12});
  const OneDnnMlp net(w, cpu::Activation::none);
  const int lanes = 48;
  const cpu::AlignedFloats x = random_block(random, w.inputs(), lanes);
  std::vector<std::vector<float>> expected;
  for (int e = 0; e < 3; ++e) expected.push_back(run(net, 12, e, x, lanes));
  std::vector<int> wrong(4);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int k = 0; k < 60; ++k)
        wrong[t] += run(net, 12, (k + t) % 3, x, lanes) != expected[(k + t) % 3];
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4));
}

TEST(OneDnnMlp, UpdateGivesTheSameAsANewNetwork) {
  SKIP_WITHOUT_ONEDNN();
  Random random(8);
  const MlpWeights before = testing::random_weights(random, 2, {5, 40, 40, 6}, 1.2, true);
  const MlpWeights after = testing::random_weights(random, 2, {5, 40, 40, 6}, 1.2, true);
  OneDnnMlp net(before, cpu::Activation::none, 4);
  const OneDnnMlp fresh(after, cpu::Activation::none, 4);
  net.update(after);
  const cpu::AlignedFloats x = random_block(random, 5, 32);
  for (int e = 0; e < 2; ++e) EXPECT_EQ(run(net, 4, e, x, 32), run(fresh, 4, e, x, 32));
  EXPECT_THROW(net.update(testing::random_weights(random, 2, {5, 41, 40, 6})), Error);
}

// A masked input may hold anything; a bad lane stays a bad lane.
TEST(OneDnnMlp, MaskedInputsAndBadLanes) {
  SKIP_WITHOUT_ONEDNN();
  Random random(9);
  MlpWeights w = testing::random_weights(random, 1, {3, 20, 2});
  w.input_std[1] = std::numeric_limits<float>::infinity();
  const OneDnnMlp net(w, cpu::Activation::none);
  cpu::AlignedFloats x = random_block(random, 3, 16);
  const std::vector<float> y = run(net, 2, 0, x, 16);
  for (int j = 0; j < 16; ++j) x[16 + j] = std::nanf("");
  EXPECT_EQ(run(net, 2, 0, x, 16), y);
  x[5] = std::nanf("");
  const std::vector<float> z = run(net, 2, 0, x, 16);
  for (int k = 0; k < 32; ++k) {
    EXPECT_EQ(std::isnan(z[k]), k % 16 == 5);
    if (k % 16 != 5) {
      EXPECT_EQ(z[k], y[k]);
    }
  }
}

TEST(OneDnnMlp, ABuildWithoutItSaysSo) {
  if (OneDnnMlp::built()) GTEST_SKIP() << "this build has oneDNN";
  EXPECT_FALSE(OneDnnMlp::usable());
  EXPECT_FALSE(OneDnnMlp::has_amx());
  try {
    const OneDnnMlp net(MlpWeights::zeros(1, {1, 1}), cpu::Activation::none);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("SOFTMPC_WITH_ONEDNN"), std::string::npos);
  }
}

}  // namespace
}  // namespace softmpc
