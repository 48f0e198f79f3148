// SPDX-License-Identifier: Apache-2.0
// Tests for cuda/train_net.cpp and kernels/train_layer.cuh: gradient steps on the emulated device
// against double precision, for random shapes and all losses; bits under every order of threads.
#include <gtest/gtest.h>

#include <cstring>

#include "core/random_models.h"
#include "device_arrays.h"
#include "test_device.h"
#include "train/train_net.h"
#include "train_oracle.h"

namespace softmpc::cuda {
namespace {

using softmpc::testing::Random;
using testing::Doubles;
using testing::OracleNet;
using testing::read;
using testing::test_device;

constexpr double kRate = 3e-3;

/// A stack with a random shape, batch and loss, on the device and in the oracle.
struct Case {
  std::vector<int> sizes;
  bool layer_norm = false;
  int networks, rows, loss = kLossMse, termination = 0, regressed, critics = 0;
  std::vector<float> parameters, input, goal, terminated, reward;  // input, goal: [row][component]
  std::vector<ProblemResult> results;
  double gamma = 0.97;
  float end_cost = 1.5f;
  float delta = 0.7f;
  std::vector<OracleNet> oracle;

  std::unique_ptr<Memory> device_parameters, target, goals, rewards, ends, values;
  std::unique_ptr<TrainNet> net;
  int steps = 0;

  Case(Random& random, bool critic, int most_rows, int widest) {
    const auto often_small = [&](int most) { return random.whole(1, random.coin() ? 9 : most); };
    networks = random.whole(1, critic ? 3 : 5);
    rows = often_small(most_rows);
    const int hidden = random.whole(1, 3), width = often_small(widest);
    regressed = critic ? 1 : often_small(30);
    int out = regressed;
    loss = random.whole(0, critic ? 1 : 2);
    if (!critic) {
      termination = random.whole(0, 1);
      out += termination + (loss == kLossGaussian ? regressed : 0);
    } else {
      critics = networks;
    }
    sizes.assign(1, often_small(widest));
    for (int l = 0; l < hidden; ++l) sizes.push_back(width);
    sizes.push_back(out);
    // of few units LayerNorm leaves hardly anything, and its gradient is rounding
    layer_norm = width >= 8 && random.coin();
    fill(random);
  }

  NetSpec spec() const { return NetSpec::mlp(sizes, layer_norm); }

  void fill(Random& random) {
    for (int e = 0; e < networks; ++e) {
      OracleNet o{sizes, layer_norm, {}, {}, {}};
      spec().for_each_slot([&](const ParameterSlot& slot) {
        for (std::size_t i = 0; i < slot.size(); ++i) {
          parameters.push_back(random.normal(1.2 / std::sqrt(sizes[slot.layer])));
          if (slot.part == Part::norm_scale) parameters.back() += 1;
          o.parameters.push_back(parameters.back());
        }
      });
      o.mean.resize(o.parameters.size());
      o.variance.resize(o.parameters.size());
      oracle.push_back(o);
    }
    draw_batch(random);
  }

  void draw_batch(Random& random) {
    input = random.normals(static_cast<std::size_t>(rows) * sizes.front());
    goal = random.normals(static_cast<std::size_t>(rows) * regressed);
    reward = random.normals(rows);
    terminated.clear();
    for (int r = 0; r < rows; ++r) terminated.push_back(random.coin() ? 1.0f : 0.0f);
    results.assign(static_cast<std::size_t>(critics) * rows, {});
    for (ProblemResult& p : results) p.value = random.real(-3, 3);
  }

  std::vector<float> columns(const std::vector<float>& from, int components) const {
    const int stride = parts_of(rows, kTrainRows) * kTrainRows;
    std::vector<float> turned(static_cast<std::size_t>(components) * stride);
    for (int r = 0; r < rows; ++r)
      for (int i = 0; i < components; ++i)
        turned[static_cast<std::size_t>(i) * stride + r] =
            from[static_cast<std::size_t>(r) * components + i];
    return turned;
  }

  void create(Device& device) {
    device_parameters = device.allocate(parameters.size() * sizeof(float));
    target = device.allocate(parameters.size() * sizeof(float));
    device.upload(device_parameters->data(), parameters.data(), device_parameters->size());
    net = std::make_unique<TrainNet>(device, networks, spec(), rows, device_parameters->as<float>(),
                                     critics ? target->as<float>() : nullptr);
    goals = TrainNet::columns(device, regressed, rows);
    rewards = TrainNet::columns(device, 1, rows);
    ends = TrainNet::columns(device, 1, rows);
    values = device.allocate(results.size() * sizeof(ProblemResult));
    TrainStack& s = net->stack();
    s.loss = loss;
    s.regressed = regressed;
    s.termination = termination;
    s.huber_delta = delta;
    s.scale = 1.0 / (critics ? rows : static_cast<double>(networks) * rows * regressed);
    s.termination_scale = 1.0 / (static_cast<double>(networks) * rows);
    s.goal = goals->as<float>();
    s.terminated = ends->as<float>();
    s.reward = rewards->as<float>();
    s.gamma = gamma;
    s.end_cost = end_cost;
    s.critics = critics;
    s.results = critics ? values->as<ProblemResult>() : nullptr;
    s.tau = 0.25f;
  }

  void upload_batch(Device& device) {
    const auto put = [&](void* to, const auto& from) {
      device.upload(to, from.data(), from.size() * sizeof(from[0]));
    };
    put(net->input(), columns(input, sizes.front()));
    put(goals->data(), columns(goal, regressed));
    put(ends->data(), columns(terminated, 1));
    put(rewards->data(), columns(reward, 1));
    put(values->data(), results);
    ++steps;
    const hd::AdamStep step = hd::adam_step(kRate, steps);
    device.upload(net->step(), &step, sizeof step);
    const int move = steps % 2 == 0;
    device.upload(net->move_target(), &move, sizeof move);
  }

  double critic_goal(int r) const {
    double least = results[r].value;
    for (int c = 1; c < critics; ++c)
      least = std::min(least, results[static_cast<std::size_t>(c) * rows + r].value);
    return reward[r] - end_cost * terminated[r] + gamma * least * (1 - terminated[r]);
  }

  /// dL/dy of one row; adds to the loss as the device reports it.
  Doubles gradient(const Doubles& y, int r, double& sum) const {
    Doubles dy(y.size());
    const double scale = 1.0 / (critics ? rows : static_cast<double>(networks) * rows * regressed);
    const int end = regressed + termination;
    for (int i = 0; i < regressed; ++i) {
      const double wanted =
          critics ? critic_goal(r) : goal[static_cast<std::size_t>(r) * regressed + i];
      double de, draw = 0, value;
      if (loss == kLossGaussian)
        value = hd::gaussian_error(y[i] - wanted, y[end + i], de, draw);
      else if (loss == kLossHuber)
        value = hd::huber_error(y[i] - wanted, static_cast<double>(delta), de);
      else
        value = hd::squared_error(y[i] - wanted, de);
      dy[i] = scale * de;
      if (loss == kLossGaussian) dy[end + i] = scale * draw;
      sum += value * (critics ? 1 : scale);
    }
    if (termination) {
      double dz;
      const double s = 1.0 / (static_cast<double>(networks) * rows);
      sum += s * hd::binary_error(y[regressed], static_cast<double>(terminated[r]), dz);
      dy[regressed] = s * dz;
    }
    return dy;
  }

  /// One step of the oracle; losses per network.
  Doubles step_oracle() {
    Doubles losses;
    for (OracleNet& o : oracle) {
      Doubles g(o.parameters.size());
      double sum = 0;
      for (int r = 0; r < rows; ++r) {
        const Doubles x(input.begin() + static_cast<std::ptrdiff_t>(r) * sizes.front(),
                        input.begin() + static_cast<std::ptrdiff_t>(r + 1) * sizes.front());
        const auto z = o.forward(x);
        o.backward(x, z, gradient(z.back(), r, sum), g);
      }
      o.adam(g, kRate, steps);
      losses.push_back(sum);
    }
    return losses;
  }

  std::string text() const {
    std::string t = std::to_string(networks) + " networks";
    for (int s : sizes) t += " " + std::to_string(s);
    return t + ", rows " + std::to_string(rows) + ", loss " + std::to_string(loss) +
           (critics ? " critic" : "") + (layer_norm ? ", LayerNorm" : "");
  }
};

double norm(const Doubles& v) {
  double sum = 0;
  for (double x : v) sum += x * x;
  return std::sqrt(sum);
}

/// |a - b| / |b| over the networks of a stack; b in double.
double relative(const std::vector<float>& a, const std::vector<OracleNet>& nets,
                Doubles OracleNet::*member) {
  Doubles difference, reference;
  for (const OracleNet& o : nets)
    for (double v : o.*member) {
      difference.push_back(a[difference.size()] - v);
      reference.push_back(v);
    }
  return norm(difference) / (norm(reference) + 1e-30);
}

void expect_equal(Device& device, Case& c, const Doubles& losses) {
  const TrainStack& s = c.net->stack();
  const std::size_t count = c.net->parameter_count();
  // the gradient as Adam's first moment; the parameters through a square root of small numbers.
  // Limits: the largest of 14,000 random steps, with a margin of 2
  EXPECT_LT(relative(read(device, s.mean, count), c.oracle, &OracleNet::mean), 2e-4);
  EXPECT_LT(relative(read(device, s.variance, count), c.oracle, &OracleNet::variance), 1e-4);
  EXPECT_LT(relative(read(device, s.parameters, count), c.oracle, &OracleNet::parameters), 3e-4);
  std::vector<double> sums(c.networks);
  device.download(sums.data(), s.loss_sum, sums.size() * sizeof(double));
  for (int e = 0; e < c.networks; ++e)
    EXPECT_NEAR(sums[e], losses[e], 1e-4 * (1 + std::abs(losses[e])));
}

TEST(TrainLayer, StepsEqualDoublePrecision) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  Random random(seed);
  const auto machine = test_device();
  Device& device = *machine;
  TrainStep step(device);
  for (int i = 0; i < 14; ++i) {
    Case members(random, false, 70, 50), critics(random, true, 70, 50);
    SCOPED_TRACE(members.text() + "; " + critics.text());
    const int which = random.whole(0, 3);  // both, or one of the two
    members.create(device);
    critics.create(device);
    for (int k = 0; k < 3; ++k) {
      for (Case* c : {&members, &critics}) {
        c->draw_batch(random);
        c->upload_batch(device);
      }
      step.launch(which == 1 ? nullptr : &members.net->stack(),
                  which == 2 ? nullptr : &critics.net->stack());
      if (which != 1) expect_equal(device, members, members.step_oracle());
      if (which != 2) expect_equal(device, critics, critics.step_oracle());
    }
  }
}

TEST(TrainLayer, WideLayersTakeSeveralTiles) {
  Random random(3);
  const auto machine = test_device();
  Device& device = *machine;
  TrainStep step(device);
  Case c(random, false, 40, 20);
  for (const bool layer_norm : {false, true}) {
    SCOPED_TRACE(layer_norm ? "LayerNorm" : "plain");
    for (auto* v : {&c.parameters, &c.input, &c.goal, &c.terminated, &c.reward}) v->clear();
    c.oracle.clear();
    c.networks = 1;
    c.rows = 37;
    c.loss = kLossMse;
    c.termination = 0;
    c.regressed = 261;
    c.sizes = {300, 270, 270, 261};
    c.layer_norm = layer_norm;
    c.steps = 0;
    c.fill(random);
    c.create(device);
    c.upload_batch(device);
    step.launch(&c.net->stack(), nullptr);
    expect_equal(device, c, c.step_oracle());
  }
}

TEST(TrainLayer, TargetsMoveByPolyakEverySecondStep) {
  Random random(5);
  const auto machine = test_device();
  Device& device = *machine;
  TrainStep step(device);
  Case c(random, true, 40, 20);
  c.create(device);
  std::vector<float> expected(c.parameters.size());  // targets start at zero here
  for (int k = 1; k <= 4; ++k) {
    c.upload_batch(device);
    step.launch(nullptr, &c.net->stack());
    const auto now = read(device, c.net->stack().parameters, expected.size());
    if (k % 2 == 0)
      for (std::size_t i = 0; i < expected.size(); ++i)
        expected[i] = hd::polyak(expected[i], now[i], 0.25f);
    EXPECT_EQ(read(device, c.target->as<float>(), expected.size()), expected);
  }
}

TEST(TrainLayer, BitsDoNotDependOnTheOrderOfThreadsAndBlocks) {
  std::vector<float> first;
  for (const emulator::RunOptions& options : emulator::all_orders(2)) {
    Random random(11);
    const auto machine = test_device(80, 0, options);
    Device& device = *machine;
    TrainStep step(device);
    Case members(random, false, 60, 40), critics(random, true, 40, 40);
    ASSERT_TRUE(members.layer_norm && critics.layer_norm);
    std::vector<float> bits;
    for (Case* c : {&members, &critics}) c->create(device);
    for (int k = 0; k < 2; ++k) {
      for (Case* c : {&members, &critics}) c->upload_batch(device);
      step.launch(&members.net->stack(), &critics.net->stack());
    }
    for (Case* c : {&members, &critics}) {
      const TrainStack& s = c->net->stack();
      for (const float* from : {s.parameters, s.mean, s.variance}) {
        const auto values = read(device, from, c->net->parameter_count());
        bits.insert(bits.end(), values.begin(), values.end());
      }
    }
    if (first.empty()) first = bits;
    ASSERT_EQ(bits.size(), first.size());
    EXPECT_EQ(std::memcmp(bits.data(), first.data(), bits.size() * sizeof(float)), 0)
        << emulator::to_string(options);
  }
}

}  // namespace
}  // namespace softmpc::cuda
