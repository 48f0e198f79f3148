// SPDX-License-Identifier: Apache-2.0
// Tests network.h: members, critic and policy against plain double evaluation; updates; refusals.
#include "softmpc/network.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "planner_oracle.h"
#include "random_models.h"
#include "softmpc/error.h"

namespace softmpc {
namespace {

using testing::Random;

constexpr float kInf = std::numeric_limits<float>::infinity();

/// A column block with a stride of its own.
struct Block {
  int rows, count, stride;
  std::vector<float> data;
  Block(int rows_, int count_, int stride_)
      : rows(rows_),
        count(count_),
        stride(stride_),
        data(static_cast<std::size_t>(rows) * stride) {}
  Columns columns() { return {data.data(), stride}; }
  ConstColumns columns() const { return {data.data(), stride}; }
  oracle::Vector lane(int j) const {
    oracle::Vector v(rows);
    for (int i = 0; i < rows; ++i) v[i] = data[static_cast<std::size_t>(i) * stride + j];
    return v;
  }
};

Block random_block(Random& random, int rows, int count) {
  Block block(rows, count, count + random.whole(0, 9));
  for (float& v : block.data) v = random.normal();
  return block;
}

/// Scratch whose alignment is what the interface promises.
struct Scratch {
  std::vector<float> data;
  explicit Scratch(std::size_t bytes) : data(bytes / sizeof(float) + 32, std::nanf("")) {}
  void* get() {
    const auto address = reinterpret_cast<std::uintptr_t>(data.data());
    return reinterpret_cast<void*>((address + 63) / 64 * 64);
  }
};

oracle::Vector joined(const Block& x, const Block& a, int lane) {
  oracle::Vector both(x.rows + a.rows);
  both << x.lane(lane), a.lane(lane);
  return both;
}

void expect_near(double got, double expected, const std::string& what) {
  EXPECT_NEAR(got, expected, 2e-5 * (1 + std::abs(expected))) << what;
}

NetWeights random_net(Random& random, int stack, int in, int out) {
  std::vector<int> sizes = {in};
  for (int l = random.whole(0, 3); l > 0; --l) sizes.push_back(random.whole(1, 70));
  sizes.push_back(out);
  NetSpec spec = NetSpec::mlp(sizes);
  for (int l = 0; l + 1 < spec.depth(); ++l) spec.layers[l].normalise = random.whole(0, 2) == 0;
  NetWeights w = testing::random_weights(random, stack, spec, 1.5, random.coin());
  if (random.coin())
    w.normalisation.input_std[static_cast<std::size_t>(random.whole(0, in - 1))] = kInf;
  return w;
}

void compare_dynamics(std::uint64_t seed) {
  Random random(seed);
  SCOPED_TRACE("seed " + std::to_string(seed));
  const int nx = random.whole(1, 20), nu = random.whole(1, 9), count = random.whole(1, 100);
  const MemberOutputs outputs = {random.coin(), random.coin()};
  const int out = nx + outputs.reward + outputs.termination;
  const NetWeights w = random_net(random, random.whole(1, 4), nx + nu, out + random.whole(0, 12));
  const MlpDynamics model(w, nx, nu, outputs);
  EXPECT_EQ(model.members(), w.stack);
  EXPECT_EQ(model.predicts_reward(), outputs.reward);
  EXPECT_EQ(model.predicts_termination(), outputs.termination);
  const Block x = random_block(random, nx, count), a = random_block(random, nu, count);
  Scratch scratch(model.scratch_bytes(count));
  for (int m = 0; m < w.stack; ++m) {
    Block next = random_block(random, nx, count);
    std::vector<float> reward(static_cast<std::size_t>(count));
    std::vector<std::uint8_t> ended(reward.size(), 7);
    model.step(m, x.columns(), a.columns(), count,
               {next.columns(), outputs.reward ? reward.data() : nullptr,
                outputs.termination ? ended.data() : nullptr},
               scratch.get());
    for (int j = 0; j < count; ++j) {
      const oracle::Vector y = oracle::evaluate_mlp(w, m, joined(x, a, j));
      for (int i = 0; i < nx; ++i) expect_near(next.lane(j)[i], x.lane(j)[i] + y[i], "next");
      if (outputs.reward) expect_near(reward[static_cast<std::size_t>(j)], y[nx], "reward");
      const double logit = outputs.termination ? y[out - 1] : 0;
      if (std::abs(logit) > 1e-5) {
        EXPECT_EQ(ended[static_cast<std::size_t>(j)], logit > 0) << logit;
      }
    }
  }
}

TEST(MlpDynamics, AgreesWithDouble) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) compare_dynamics(seed);
}

TEST(MlpValue, AgreesWithDoubleForEachOfAStack) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Random random(seed);
    const int nx = random.whole(1, 20), nu = random.whole(1, 9), count = random.whole(1, 100);
    const NetWeights w = random_net(random, random.whole(1, 3), nx + nu, 1);
    const Block x = random_block(random, nx, count), a = random_block(random, nu, count);
    for (int m = 0; m < w.stack; ++m) {
      const MlpValue value(w, nx, nu, m);
      Scratch scratch(value.scratch_bytes(count));
      std::vector<float> q(static_cast<std::size_t>(count));
      value.evaluate(x.columns(), a.columns(), count, q.data(), scratch.get());
      for (int j = 0; j < count; ++j)
        expect_near(q[static_cast<std::size_t>(j)], oracle::evaluate_mlp(w, m, joined(x, a, j))[0],
                    "seed " + std::to_string(seed));
    }
  }
}

TEST(MlpValue, AgreesWithDoubleOverAStack) {
  const std::uint64_t seed = 21;
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  Random random(seed);
  for (int round = 0; round < 20; ++round) {
    const int nx = random.whole(1, 20), nu = random.whole(1, 9), count = random.whole(1, 100);
    const NetWeights w = random_net(random, random.whole(1, 5), nx + nu, 1);
    const Block x = random_block(random, nx, count), a = random_block(random, nu, count);
    const MlpValue least(w, nx, nu, Reduction::least), mean(w, nx, nu, Reduction::mean);
    Scratch scratch(least.scratch_bytes(count));
    std::vector<float> low(static_cast<std::size_t>(count)), middle(low.size());
    least.evaluate(x.columns(), a.columns(), count, low.data(), scratch.get());
    mean.evaluate(x.columns(), a.columns(), count, middle.data(), scratch.get());
    for (int j = 0; j < count; ++j) {
      double smallest = kInf, sum = 0;
      for (int c = 0; c < w.stack; ++c) {
        const double q = oracle::evaluate_mlp(w, c, joined(x, a, j))[0];
        smallest = std::min(smallest, q);
        sum += q;
      }
      expect_near(low[static_cast<std::size_t>(j)], smallest, "least");
      expect_near(middle[static_cast<std::size_t>(j)], sum / w.stack, "mean");
    }
  }
}

// A planner must see that one critic of several has gone astray.
TEST(MlpValue, ANanOfOneCriticIsTheValueOfAll) {
  Random random(22);
  for (int astray = 0; astray < 3; ++astray) {
    NetWeights w = testing::random_weights(random, 3, NetSpec::mlp({3, 8, 1}));
    MlpValue value(w, 2, 1, Reduction::least);
    w.bias(1)[static_cast<std::size_t>(astray)] = std::nanf("");
    value.update(w);
    const Block x = random_block(random, 2, 5), a = random_block(random, 1, 5);
    Scratch scratch(value.scratch_bytes(5));
    std::vector<float> q(5);
    value.evaluate(x.columns(), a.columns(), 5, q.data(), scratch.get());
    for (float v : q) EXPECT_TRUE(std::isnan(v)) << "critic " << astray;
  }
}

// bfloat16 rounds operands between hidden layers, whether they are normalised or not: its error is
// as small with LayerNorm as without.
TEST(MlpDynamics, LayerNormInBfloat16StaysNearFloat32) {
  Random random(23);
  for (const bool layer_norm : {false, true})
    for (int hidden = 1; hidden <= 3; ++hidden) {
      const int nx = 7, nu = 2, lanes = 48;
      const NetSpec spec = NetSpec::mlp(nx + nu, 65, hidden, nx, layer_norm);
      const NetWeights w = testing::random_weights(random, 2, spec, 1, true);
      const MlpDynamics exact(w, nx, nu), narrow(w, nx, nu, {}, Precision::bfloat16);
      const Block x = random_block(random, nx, lanes), a = random_block(random, nu, lanes);
      Block one(nx, lanes, lanes), other(nx, lanes, lanes);
      Scratch scratch(narrow.scratch_bytes(lanes));
      exact.step(1, x.columns(), a.columns(), lanes, {one.columns(), nullptr, nullptr},
                 scratch.get());
      narrow.step(1, x.columns(), a.columns(), lanes, {other.columns(), nullptr, nullptr},
                  scratch.get());
      double squares = 0, size = 0;
      for (std::size_t i = 0; i < one.data.size(); ++i) {
        squares += std::pow(one.data[i] - other.data[i], 2);
        size += std::pow(one.data[i], 2);
      }
      EXPECT_LT(std::sqrt(squares / size), 5e-3) << "hidden layers " << hidden;
      EXPECT_EQ(squares > 0, hidden > 1) << "one hidden layer has no product to round";
    }
}

TEST(MlpPolicy, AgreesWithDoubleAndStaysInTheBox) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Random random(seed);
    const int nx = random.whole(1, 20), nu = random.whole(1, 9), count = random.whole(1, 100);
    const NetWeights w = random_net(random, 1, nx, nu);
    std::vector<float> low, high;
    for (int i = 0; i < nu; ++i) {
      low.push_back(static_cast<float>(random.real(-3, 0)));
      high.push_back(static_cast<float>(random.real(0.1, 2)));
    }
    const MlpPolicy policy(w, low, high);
    const Block x = random_block(random, nx, count);
    Block action = random_block(random, nu, count);
    Scratch scratch(policy.scratch_bytes(count));
    policy.evaluate(x.columns(), count, action.columns(), scratch.get());
    for (int j = 0; j < count; ++j) {
      const oracle::Vector y = oracle::evaluate_mlp(w, 0, x.lane(j));
      for (int i = 0; i < nu; ++i) {
        const double mid = (low[i] + high[i]) / 2.0, half = (high[i] - low[i]) / 2.0;
        expect_near(action.lane(j)[i], mid + half * std::tanh(y[i]),
                    "seed " + std::to_string(seed));
        EXPECT_GE(action.lane(j)[i], low[i] - 1e-6);
        EXPECT_LE(action.lane(j)[i], high[i] + 1e-6);
      }
    }
  }
}

// A masked input may hold anything.
TEST(MlpValue, AMaskedInputDoesNotReachTheNetwork) {
  Random random(4);
  NetWeights w = testing::random_weights(random, 1, NetSpec::mlp({3, 8, 1}));
  w.normalisation.input_std[1] = kInf;
  const MlpValue value(w, 2, 1);
  Block x = random_block(random, 2, 1), a = random_block(random, 1, 1);
  Scratch scratch(value.scratch_bytes(1));
  const auto q = [&](float masked) {
    x.columns()[1][0] = masked;
    float out;
    value.evaluate(x.columns(), a.columns(), 1, &out, scratch.get());
    return out;
  };
  EXPECT_EQ(q(0), q(1e30f));
  EXPECT_EQ(q(0), q(kInf));
  EXPECT_EQ(q(0), q(std::nanf("")));
}

// What the lanes of a run share is summed once; the bits are those of a step without that.
TEST(MlpDynamics, TheFirstStepIsAStep) {
  Random random(41);
  for (int round = 0; round < 12; ++round) {
    const int nx = random.whole(1, 30), nu = random.whole(1, 6), lanes = 48;
    const std::vector<int> hidden(static_cast<std::size_t>(random.whole(0, 3)), 37);
    std::vector<int> sizes = {nx + nu};
    sizes.insert(sizes.end(), hidden.begin(), hidden.end());
    sizes.push_back(nx);
    const NetWeights w = random_weights(random, 2, NetSpec::mlp(sizes), 1, round % 2 == 0);
    const LaneRun runs[] = {{0, 5, 3}, {5, 29, 4}, {29, 48, 5}};
    std::vector<float> x(static_cast<std::size_t>(nx) * lanes);
    for (int i = 0; i < nx; ++i)
      for (const LaneRun& run : runs)
        std::fill_n(x.begin() + i * lanes + run.begin, run.end - run.begin, random.normal());
    const std::vector<float> a = random.normals(static_cast<std::size_t>(nu) * lanes);
    for (Precision precision : {Precision::float32, Precision::bfloat16}) {
      const MlpDynamics model(w, nx, nu, {}, precision);
      std::vector<float> scratch(model.scratch_bytes(lanes) / sizeof(float));
      std::vector<float> plain(x.size()), shared(x.size());
      const ConstColumns xs{x.data(), lanes}, as{a.data(), lanes};
      model.step(1, xs, as, lanes, {{plain.data(), lanes}, nullptr, nullptr}, scratch.data());
      model.first_step(1, runs, xs, as, lanes, {{shared.data(), lanes}, nullptr, nullptr},
                       scratch.data());
      EXPECT_EQ(plain, shared);
    }
  }
}

TEST(Precision, OfSettingsIsThatOfTheDeviceTheyTrainOn) {
  Config config;
  config.planner.precision = Precision::automatic;
  EXPECT_NE(resolve_precision(config, 3, 1), Precision::float16);
  config.trainer.device = Device::cuda;
  EXPECT_EQ(resolve_precision(config, 3, 1), Precision::float16);
  config.planner.precision = Precision::bfloat16;
  EXPECT_EQ(resolve_precision(config, 3, 1), Precision::bfloat16);
  config.planner.precision = Precision::float16;
  config.trainer.device = Device::cpu;
  EXPECT_THROW(resolve_precision(config, 3, 1), UsageError);
}

TEST(NetWeightsUpdate, GivesTheSameAsANewNetwork) {
  Random random(6);
  const std::vector<int> sizes = {5, 16, 4};
  MlpDynamics updated(testing::random_weights(random, 2, NetSpec::mlp(sizes), 1, true), 4, 1);
  const NetWeights w = testing::random_weights(random, 2, NetSpec::mlp(sizes), 1, true);
  updated.update(w);
  const MlpDynamics fresh(w, 4, 1);
  const Block x = random_block(random, 4, 20), a = random_block(random, 1, 20);
  Block one(4, 20, 20), other(4, 20, 20);
  Scratch scratch(fresh.scratch_bytes(20));
  fresh.step(1, x.columns(), a.columns(), 20, {one.columns(), nullptr, nullptr}, scratch.get());
  updated.step(1, x.columns(), a.columns(), 20, {other.columns(), nullptr, nullptr}, scratch.get());
  EXPECT_EQ(one.data, other.data);
}

TEST(NetWeights, WrongShapesAreRefused) {
  EXPECT_THROW(NetWeights::zeros(0, NetSpec::mlp({2, 2})), Error);
  EXPECT_THROW(NetWeights::zeros(1, NetSpec::mlp({2})), Error);
  EXPECT_THROW(NetWeights::zeros(1, NetSpec::mlp({2, 0, 2})), Error);
  const NetWeights good = NetWeights::zeros(2, NetSpec::mlp({4, 8, 3}));
  EXPECT_NO_THROW(MlpDynamics(good, 3, 1));
  EXPECT_THROW(MlpDynamics(good, 2, 1), Error);
  EXPECT_THROW(MlpDynamics(good, 3, 1, {true, false}), Error);
  EXPECT_THROW(MlpValue(good, 3, 1), Error);
  EXPECT_THROW(MlpValue(NetWeights::zeros(2, NetSpec::mlp({4, 1})), 3, 1, 2), Error);
  const std::vector<float> low(3, -1), high(3, 1), short_high(2, 1);
  EXPECT_THROW(MlpPolicy(good, low, high), Error);  // a stack of two
  EXPECT_THROW(MlpPolicy(NetWeights::zeros(1, NetSpec::mlp({4, 3})), low, short_high), Error);
  MlpDynamics model(good, 3, 1);
  EXPECT_THROW(model.update(NetWeights::zeros(3, NetSpec::mlp({4, 8, 3}))), Error);
  EXPECT_THROW(model.update(NetWeights::zeros(2, NetSpec::mlp({4, 9, 3}))), Error);
  NetWeights short_array = good;
  short_array.parameters.pop_back();
  EXPECT_THROW(model.update(short_array), Error);
  EXPECT_THROW(short_array.validate("w"), Error);
  NetWeights short_std = good;
  short_std.normalisation.input_std.pop_back();
  EXPECT_THROW(model.update(short_std), Error);
}

TEST(NetWeights, BadNumbersAreRefused) {
  const NetWeights good = NetWeights::zeros(2, NetSpec::mlp({4, 8, 3}));
  const auto refuse = [&](auto change) {
    NetWeights w = good;
    change(w);
    EXPECT_THROW(w.validate("w"), Error);
  };
  refuse([](auto& w) { w.weight(0)[1] = std::nanf(""); });
  refuse([](auto& w) { w.bias(1)[0] = kInf; });
  refuse([](auto& w) { w.normalisation.input_std[0] = 0; });
  refuse([](auto& w) { w.normalisation.input_std[0] = std::nanf(""); });
  refuse([](auto& w) { w.normalisation.output_std[0] = kInf; });
  refuse([](auto& w) { w.normalisation.input_mean[0] = kInf; });
  NetWeights masked = good;
  masked.normalisation.input_std[2] = kInf;
  EXPECT_NO_THROW(masked.validate("w"));
}

}  // namespace
}  // namespace softmpc
