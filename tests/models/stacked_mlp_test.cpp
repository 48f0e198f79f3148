// SPDX-License-Identifier: Apache-2.0
// Tests for models/stacked_mlp.cpp, models/policy_learner.cpp and the planner's nets: gradients
// against autograd in double precision, Adam against LibTorch's, forward passes against LibTorch's.
#include "stacked_mlp.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <numeric>
#include <random>

#include "policy_learner.h"
#include "softmpc/network.h"

namespace softmpc {
namespace {

/// The same stack by recorded operators, on leaves that share no storage with `net`.
struct Reference {
  std::vector<torch::Tensor> weight, bias;
  explicit Reference(const StackedMlp& net) {
    for (std::size_t l = 0; l < net.spec().layers.size(); ++l) {
      weight.push_back(net.weight(static_cast<int>(l)).clone().requires_grad_());
      bias.push_back(net.bias(static_cast<int>(l)).clone().requires_grad_());
    }
  }
  torch::Tensor forward(torch::Tensor h) const {
    for (std::size_t l = 0; l < weight.size(); ++l) {
      h = torch::matmul(h, weight[l].transpose(1, 2)) + bias[l];
      if (l + 1 < weight.size()) h = h * torch::sigmoid(h);
    }
    return h;
  }
};

double relative_error(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).norm() / (b.norm() + 1e-30)).item<double>();
}

TEST(StackedMlp, BackwardAgreesWithAutogradInDouble) {
  torch::manual_seed(7);
  const std::vector<std::vector<int>> shapes = {
      {15, 32, 32, 12}, {4, 8, 1}, {3, 5}, {6, 7, 9, 11, 2}};
  for (const auto& sizes : shapes)
    for (int stack : {1, 4}) {
      StackedMlp net(stack, NetSpec::mlp(sizes), at::kDouble);
      net.initialise(3, 0);
      const Reference reference(net);
      torch::Tensor x = torch::randn({1, 10, sizes.front()}, torch::kDouble);
      torch::Tensor leaf = x.expand({stack, 10, sizes.front()}).clone().requires_grad_();
      const torch::Tensor expected = reference.forward(leaf);
      const torch::Tensor dy = torch::randn_like(expected);
      expected.backward(dy);
      const at::Tensor y = net.forward(x);
      EXPECT_LT(relative_error(y, expected.detach()), 1e-13);
      const at::Tensor dx = net.backward(dy, true);
      EXPECT_LT(relative_error(dx, leaf.grad()), 1e-12);
      for (std::size_t l = 0; l < reference.weight.size(); ++l) {
        EXPECT_LT(
            relative_error(net.weight_gradient(static_cast<int>(l)), reference.weight[l].grad()),
            1e-12);
        EXPECT_LT(relative_error(net.bias_gradient(static_cast<int>(l)), reference.bias[l].grad()),
                  1e-12);
      }
    }
}

TEST(StackedMlp, InitialisesLikePyTorch) {
  StackedMlp net(4, NetSpec::mlp({15, 64, 12}));
  net.initialise(1, 0);
  for (int l = 0; l < 2; ++l) {
    const double bound = 1 / std::sqrt(l == 0 ? 15.0 : 64.0);
    const at::Tensor w = net.weight(l);
    EXPECT_LE(w.abs().max().item<double>(), bound);
    EXPECT_GT(w.abs().max().item<double>(), 0.98 * bound);
    // a uniform variable on +-b has the standard deviation b / sqrt 3
    EXPECT_NEAR(w.std().item<double>(), bound / std::sqrt(3.0), 0.03 * bound);
    EXPECT_LE(net.bias(l).abs().max().item<double>(), bound);
  }
  StackedMlp other(4, NetSpec::mlp({15, 64, 12}));
  other.initialise(2, 0);
  EXPECT_FALSE(torch::equal(net.parameters(), other.parameters()));
  EXPECT_FALSE(torch::equal(net.weight(0)[0], net.weight(0)[1])) << "members must differ";
}

TEST(Adam, AgreesWithLibTorch) {
  torch::manual_seed(5);
  torch::Tensor theirs = torch::randn({1000}).requires_grad_();
  torch::Tensor ours = theirs.detach().clone();
  torch::optim::Adam reference({theirs}, torch::optim::AdamOptions(3e-4));
  Adam adam(ours, 3e-4);
  for (int step = 0; step < 50; ++step) {
    torch::Tensor gradient = torch::randn({1000}) * std::pow(10.0, step % 5 - 2);
    theirs.mutable_grad() = gradient.clone();
    reference.step();
    adam.step(ours, gradient);
  }
  EXPECT_LT((ours - theirs.detach()).abs().max().item<double>(), 1e-6);
}

/// Random nets of the preset's size, with a normalisation that is not the identity.
struct Nets {
  static constexpr int nx = 12, nu = 3, lanes = 37;
  StackedMlp members{4, NetSpec::mlp({nx + nu, 256, 256, nx})},
      critics{2, NetSpec::mlp({nx + nu, 256, 256, 1})};
  NetWeights member_weights = NetWeights::zeros(4, members.spec());
  NetWeights critic_weights = NetWeights::zeros(2, critics.spec());
  std::vector<float> x, a;  // columns [nx, lanes], [nu, lanes]

  Nets() {
    std::mt19937 random(2);
    std::normal_distribution<float> normal;
    members.initialise(1, 0);
    critics.initialise(1, 1);
    members.export_to(member_weights);
    critics.export_to(critic_weights);
    for (auto* w : {&member_weights, &critic_weights}) {
      for (auto& v : w->normalisation.input_mean) v = normal(random);
      for (auto& v : w->normalisation.input_std) v = 0.5f + std::abs(normal(random));
      for (auto& v : w->normalisation.output_mean) v = normal(random);
      for (auto& v : w->normalisation.output_std) v = 0.5f + std::abs(normal(random));
    }
    for (int i = 0; i < nx * lanes; ++i) x.push_back(normal(random));
    for (int i = 0; i < nu * lanes; ++i) a.push_back(normal(random));
  }
  /// Denormalised output of stack entry e by LibTorch: [lanes, out].
  torch::Tensor expected(StackedMlp& net, const NetWeights& w, int e) {
    std::vector<float> rows_x(x.size()), rows_a(a.size());
    for (int j = 0; j < lanes; ++j) {
      for (int i = 0; i < nx; ++i) rows_x[j * nx + i] = x[i * lanes + j];
      for (int i = 0; i < nu; ++i) rows_a[j * nu + i] = a[i * lanes + j];
    }
    const at::Tensor rows = at::cat({borrow(rows_x, {lanes, nx}), borrow(rows_a, {lanes, nu})}, 1);
    const at::Tensor input = (rows - borrow(w.normalisation.input_mean, {nx + nu})) /
                             borrow(w.normalisation.input_std, {nx + nu});
    const at::Tensor y = net.forward(input.unsqueeze(0))[e];
    return y * borrow(w.normalisation.output_std, {w.outputs()}) +
           borrow(w.normalisation.output_mean, {w.outputs()});
  }
};

TEST(PlannerNets, DynamicsStepAgreesWithLibTorch) {
  Nets nets;
  const MlpDynamics dynamics(nets.member_weights, Nets::nx, Nets::nu);
  std::vector<float> next(nets.x.size());
  std::vector<float> scratch(dynamics.scratch_bytes(Nets::lanes) / sizeof(float));
  for (int e = 0; e < 4; ++e) {
    dynamics.step(e, {nets.x.data(), Nets::lanes}, {nets.a.data(), Nets::lanes}, Nets::lanes,
                  {{next.data(), Nets::lanes}, nullptr, nullptr}, scratch.data());
    const torch::Tensor delta = nets.expected(nets.members, nets.member_weights, e);
    const torch::Tensor expected = borrow(nets.x, {Nets::nx, Nets::lanes}) + delta.t();
    EXPECT_LT(relative_error(borrow(next, {Nets::nx, Nets::lanes}), expected), 1e-6);
    const torch::Tensor error = (borrow(next, {Nets::nx, Nets::lanes}) - expected).abs();
    EXPECT_LT((error / (expected.abs() + 1)).max().item<double>(), 1e-5);
  }
}

TEST(PlannerNets, CriticAgreesWithLibTorch) {
  Nets nets;
  for (int c = 0; c < 2; ++c) {
    const MlpValue value(nets.critic_weights, Nets::nx, Nets::nu, c);
    std::vector<float> q(Nets::lanes);
    std::vector<float> scratch(value.scratch_bytes(Nets::lanes) / sizeof(float));
    value.evaluate({nets.x.data(), Nets::lanes}, {nets.a.data(), Nets::lanes}, Nets::lanes,
                   q.data(), scratch.data());
    const torch::Tensor expected = nets.expected(nets.critics, nets.critic_weights, c).flatten();
    const torch::Tensor error = (borrow(q, {Nets::lanes}) - expected).abs();
    EXPECT_LT((error / (expected.abs() + 1)).max().item<double>(), 1e-5);
  }
}

TEST(PolicyLearner, FollowsTheDeterministicPolicyGradient) {
  const int nx = 5, nu = 2, n = 16;
  CriticConfig critic_config;
  critic_config.width = 16;
  PolicyConfig policy_config;
  policy_config.width = 16;
  CriticLearner critic(critic_config, nx, nu, 1);
  PolicyLearner policy(policy_config, nx, {-2, -1}, {2, 3}, 1);
  ReplayBatch batch;
  batch.size = n;
  std::mt19937 random(4);
  std::normal_distribution<float> normal;
  for (int i = 0; i < n * nx; ++i) batch.x.push_back(normal(random));
  const auto mean_value = [&] {
    const std::vector<float> a = policy.act(batch.x, n, false);
    // targets start as copies of the critics
    const std::vector<float> q = critic.target_value(batch.x, a, n);
    return std::accumulate(q.begin(), q.end(), 0.0) / n;
  };
  const double before = mean_value();
  for (int i = 0; i < 200; ++i) policy.update(batch, critic);
  EXPECT_GT(mean_value(), before + 0.01);
  for (float a : policy.act(batch.x, n, false)) {
    EXPECT_GE(a, -2);
    EXPECT_LE(a, 3);
  }
}

}  // namespace
}  // namespace softmpc
