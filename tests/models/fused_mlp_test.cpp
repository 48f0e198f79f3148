// SPDX-License-Identifier: Apache-2.0
// Tests for models/fused_mlp.cpp, models/learners.cpp and models/losses.h: values, gradients and
// Adam steps against LibTorch in double precision.
#include "learn/fused_mlp.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <cstdio>

#include "core/random_models.h"
#include "learn/learners.h"
#include "learn/losses.h"

namespace softmpc {
namespace {

using testing::Random;

double relative_error(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).norm() / (b.norm() + 1e-30)).item<double>();
}

torch::Tensor in_double(std::span<const float> values, at::IntArrayRef shape) {
  return torch::tensor(std::vector<double>(values.begin(), values.end()), torch::kDouble)
      .reshape(shape);
}

/// Rows [rows, count] of a block in double, turned to [count, rows].
torch::Tensor rows_of(const float* data, int rows, int count, int lanes) {
  torch::Tensor out = torch::empty({count, rows}, torch::kDouble);
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < count; ++j) out[j][i] = data[static_cast<std::ptrdiff_t>(i) * lanes + j];
  return out;
}

/// Network e of a stack in LibTorch, double precision, with gradients.
struct Reference {
  std::vector<torch::Tensor> weight, bias, scale, shift;  // of LayerNorm: undefined without it
  Reference(const FusedMlp& net, int e) {
    const NetWeights w = net.weights(NetNormalisation::identity(net.spec()));
    for (int l = 0; l < w.layers(); ++l) {
      const int in = w.spec.inputs_of(l), out = w.spec.layers[l].width;
      weight.push_back(in_double(w.weight(l), {w.stack, out, in})[e].clone().requires_grad_());
      bias.push_back(in_double(w.bias(l), {w.stack, out})[e].clone().requires_grad_());
      const bool normalise = w.spec.layers[l].normalise;
      for (auto [list, part] :
           {std::pair{&scale, Part::norm_scale}, std::pair{&shift, Part::norm_shift}})
        list->push_back(normalise
                            ? in_double(w.slot(l, part), {w.stack, out})[e].clone().requires_grad_()
                            : torch::Tensor());
    }
  }
  std::vector<torch::Tensor> parameters() const {
    std::vector<torch::Tensor> all = weight;
    all.insert(all.end(), bias.begin(), bias.end());
    for (const auto* list : {&scale, &shift})
      for (const torch::Tensor& t : *list)
        if (t.defined()) all.push_back(t);
    return all;
  }
  torch::Tensor forward(torch::Tensor h) const {
    for (std::size_t l = 0; l < weight.size(); ++l) {
      h = torch::matmul(h, weight[l].t()) + bias[l];
      if (scale[l].defined()) h = torch::layer_norm(h, {h.size(1)}, scale[l], shift[l], 1e-5);
      if (l + 1 < weight.size()) h = h * torch::sigmoid(h);
    }
    return h;
  }
};

/// A network of random shape, a random batch, and dL/dy.
struct Case {
  std::vector<int> sizes;
  NetSpec spec;
  int stack, count;
  TrainBlock input;
  std::vector<float> dy;  // [out, lanes]

  explicit Case(Random& random) {
    sizes.push_back(random.whole(1, 40));
    for (int l = random.whole(0, 3); l > 0; --l) sizes.push_back(random.whole(1, 70));
    sizes.push_back(random.whole(1, 20));
    spec = NetSpec::mlp(sizes);
    // two units are +-1 behind LayerNorm: nothing to differentiate
    for (int l = 0; l + 1 < spec.depth(); ++l)
      spec.layers[l].normalise = spec.layers[l].width > 2 && random.coin();
    stack = random.whole(1, 4);
    count = random.whole(1, 70);
    input.resize(sizes.front(), count);
    dy.resize(static_cast<std::size_t>(sizes.back()) * input.lanes);
    for (int j = 0; j < count; ++j) {
      for (int i = 0; i < input.rows; ++i) input.row(i)[j] = random.normal();
      for (int i = 0; i < sizes.back(); ++i)
        dy[static_cast<std::size_t>(i) * input.lanes + j] = random.normal();
    }
  }
  torch::Tensor x() const { return rows_of(input.row(0), input.rows, count, input.lanes); }
  torch::Tensor dy_rows() const { return rows_of(dy.data(), sizes.back(), count, input.lanes); }
};

TEST(FusedMlp, ForwardAndInputGradientAgreeWithAutograd) {
  const std::uint64_t seed = 31;
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  Random random(seed);
  TrainScratch scratch;  // one for all shapes: what an earlier one left must not matter
  for (int round = 0; round < 30; ++round) {
    const Case c(random);
    FusedMlp net(c.stack, c.spec, 1e-3);
    net.initialise(random.whole(0, 1000), 0);
    const int e = random.whole(0, c.stack - 1);
    const Reference reference(net, e);
    const torch::Tensor x = c.x().requires_grad_();
    const torch::Tensor expected = reference.forward(x);
    expected.backward(c.dy_rows());
    const float* y = net.forward(e, c.input, scratch);
    EXPECT_LT(relative_error(rows_of(y, c.sizes.back(), c.count, c.input.lanes), expected), 2e-6);
    std::copy(c.dy.begin(), c.dy.end(), net.output_gradient(c.input, scratch));
    const float* dx = net.input_gradient(e, c.input, scratch);
    EXPECT_LT(relative_error(rows_of(dx, c.input.rows, c.count, c.input.lanes), x.grad()), 1e-5);
  }
}

// In the first step the moment is (1 - beta1) times the gradient; it is in the checkpoint.
TEST(FusedMlp, GradientsAgreeWithAutograd) {
  const std::uint64_t seed = 32;
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  Random random(seed);
  TrainScratch scratch;
  for (int round = 0; round < 30; ++round) {
    const Case c(random);
    FusedMlp net(c.stack, c.spec, 1e-3, round % 2 == 0);
    net.initialise(random.whole(0, 1000), 0);
    net.begin_step();
    std::vector<std::vector<torch::Tensor>> per_slot(c.spec.layers.size() * 4);
    for (int e = 0; e < c.stack; ++e) {
      const Reference reference(net, e);
      reference.forward(c.x()).backward(c.dy_rows());
      std::size_t slot = 0;
      for (std::size_t l = 0; l < c.spec.layers.size(); ++l)
        for (const auto* list :
             {&reference.weight, &reference.bias, &reference.scale, &reference.shift}) {
          if ((*list)[l].defined()) per_slot[slot].push_back((*list)[l].grad().flatten());
          ++slot;
        }
      net.forward(e, c.input, scratch);
      std::copy(c.dy.begin(), c.dy.end(), net.output_gradient(c.input, scratch));
      net.descend(e, c.input, scratch);
    }
    std::vector<torch::Tensor> in_order;
    for (const auto& nets : per_slot) in_order.insert(in_order.end(), nets.begin(), nets.end());
    const torch::Tensor expected = torch::cat(in_order);
    TensorFile file;
    net.save(file, "net");
    const std::vector<float> moment = file.tensors.at("net.adam_mean").values<float>();
    const torch::Tensor gradient = in_double(moment, {expected.numel()}) * 10;
    EXPECT_LT(relative_error(gradient, expected), 1e-5);
  }
}

TEST(FusedMlp, AdamFollowsLibTorch) {
  Random random(33);
  const int n = 32;
  FusedMlp net(1, NetSpec::mlp({6, 40, 3}), 3e-4);
  net.initialise(5, 0);
  const Reference reference(net, 0);
  torch::optim::Adam adam(reference.parameters(), torch::optim::AdamOptions(3e-4));
  TrainScratch scratch;
  for (int step = 0; step < 100; ++step) {
    TrainBlock input;
    input.resize(6, n);
    for (int j = 0; j < n; ++j)
      for (int i = 0; i < 6; ++i) input.row(i)[j] = random.normal();
    const torch::Tensor x = rows_of(input.row(0), 6, n, input.lanes);
    adam.zero_grad();
    (reference.forward(x) - x.narrow(1, 0, 3)).square().mean().backward();
    adam.step();
    const float* y = net.forward(0, input, scratch);
    regression_loss({3, n, input.lanes}, y, input.row(0), Loss::mse, 1, 1.0 / (3 * n),
                    net.output_gradient(input, scratch));
    net.begin_step();
    net.descend(0, input, scratch);
  }
  const Reference after(net, 0);
  const auto ours = after.parameters(), theirs = reference.parameters();
  for (std::size_t i = 0; i < ours.size(); ++i)
    EXPECT_LT((ours[i] - theirs[i]).abs().max().item<double>(), 2e-6);
}

TEST(FusedMlp, InitialisesLikePyTorch) {
  const NetSpec spec = NetSpec::mlp({15, 64, 12});
  FusedMlp net(4, spec, 1e-3), other(4, spec, 1e-3);
  net.initialise(1, 0);
  other.initialise(2, 0);
  for (int l = 0; l < 2; ++l) {
    const double bound = 1 / std::sqrt(l == 0 ? 15.0 : 64.0);
    const torch::Tensor w = Reference(net, 0).weight[l].detach();
    EXPECT_LE(w.abs().max().item<double>(), bound);
    EXPECT_GT(w.abs().max().item<double>(), 0.98 * bound);
    // a uniform variable on +-b has the standard deviation b / sqrt 3
    EXPECT_NEAR(w.std().item<double>(), bound / std::sqrt(3.0), 0.05 * bound);
    EXPECT_FALSE(torch::equal(w, Reference(net, 1).weight[l])) << "members must differ";
    EXPECT_FALSE(torch::equal(w, Reference(other, 0).weight[l])) << "seeds must differ";
  }
}

TEST(FusedMlp, ACheckpointRestoresEveryBit) {
  Random random(34);
  const NetSpec spec = NetSpec::mlp({5, 20, 3});
  FusedMlp net(2, spec, 1e-2, true), copy(2, spec, 1e-2, true);
  net.initialise(1, 0);
  TrainScratch scratch;
  TrainBlock input;
  input.resize(5, 7);
  for (int i = 0; i < 5; ++i)
    for (int j = 0; j < 7; ++j) input.row(i)[j] = random.normal();
  const NetNormalisation normalisation = NetNormalisation::identity(spec);
  const auto step = [&](FusedMlp& n) {
    n.begin_step();
    for (int e = 0; e < 2; ++e) {
      const float* y = n.forward(e, input, scratch);
      regression_loss({3, 7, input.lanes}, y, input.row(0), Loss::mse, 1, 1,
                      n.output_gradient(input, scratch));
      n.descend(e, input, scratch);
    }
    n.publish(normalisation);
  };
  for (int i = 0; i < 3; ++i) step(net);
  TensorFile file, ours, theirs;
  net.save(file, "n");
  copy.load(file, "n");
  for (int i = 0; i < 3; ++i) {
    step(net);
    step(copy);
  }
  net.save(ours, "n");
  copy.save(theirs, "n");
  EXPECT_EQ(encode_safetensors(ours), encode_safetensors(theirs));
}

/// The value and gradient of one of our losses against a LibTorch expression of the same blocks.
void compare_loss(double ours, const torch::Tensor& gradient, const torch::Tensor& theirs,
                  const torch::Tensor& leaf) {
  EXPECT_NEAR(ours, theirs.item<double>(), 1e-12 * std::abs(ours));
  EXPECT_LT(relative_error(gradient, torch::autograd::grad({theirs}, {leaf}, {}, true)[0]), 1e-12);
}

TEST(Losses, GradientsAgreeWithAutograd) {
  torch::manual_seed(11);
  const LossBlock block = {5, 16, 16};
  const torch::Tensor target = torch::randn({5, 16}, torch::kDouble);
  const torch::Tensor label = (target > 0).to(torch::kDouble);
  torch::Tensor d = torch::zeros_like(target);
  double* out = d.data_ptr<double>();
  for (double scale : {0.3, 3.0}) {
    const torch::Tensor p = (scale * torch::randn({5, 16}, torch::kDouble)).requires_grad_();
    const double* y = p.data_ptr<double>();
    const double* t = target.data_ptr<double>();
    const at::Reduction::Reduction sum = at::Reduction::Sum;
    double value = regression_loss(block, y, t, Loss::mse, 1, 1.0, out);
    compare_loss(value, d, torch::mse_loss(p, target, sum), p);
    value = regression_loss(block, y, t, Loss::huber, 0.7, 1.0, out);
    compare_loss(value, d, torch::smooth_l1_loss(p, target, sum, 0.7), p);
    value = binary_loss(block, y, label.data_ptr<double>(), 1.0, out);
    compare_loss(value, d, torch::binary_cross_entropy_with_logits(p, label, {}, {}, sum), p);
  }
}

TEST(Losses, GaussianGradientsAgreeWithAutograd) {
  torch::manual_seed(12);
  const torch::Tensor mean = torch::randn({5, 16}, torch::kDouble).requires_grad_();
  const torch::Tensor raw = torch::randn({5, 16}, torch::kDouble).requires_grad_();
  const torch::Tensor target = torch::randn({5, 16}, torch::kDouble);
  const torch::Tensor s =
      hd::kMinLogVariance + (hd::kMaxLogVariance - hd::kMinLogVariance) * torch::sigmoid(raw);
  const torch::Tensor theirs = 0.5 * ((mean - target).square() * torch::exp(-s) + s).sum();
  torch::Tensor d = torch::zeros_like(target), draw = torch::zeros_like(target);
  const double value =
      gaussian_loss({5, 16, 16}, mean.data_ptr<double>(), raw.data_ptr<double>(),
                    target.data_ptr<double>(), 1.0, d.data_ptr<double>(), draw.data_ptr<double>());
  compare_loss(value, d, theirs, mean);
  compare_loss(value, draw, theirs, raw);
}

}  // namespace
}  // namespace softmpc
