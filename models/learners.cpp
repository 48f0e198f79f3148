// SPDX-License-Identifier: Apache-2.0
#include "learners.h"

#include "losses.h"
#include "softmpc/hd/philox.h"

namespace softmpc {
namespace {

// which network a random initialisation is for
enum Network : std::uint32_t { kMembers, kCritics, kPolicy };

std::vector<int> layer_sizes(int in, int width, int layers, int out) {
  std::vector<int> sizes = {in};
  sizes.insert(sizes.end(), layers, width);
  sizes.push_back(out);
  return sizes;
}

int member_outputs(const ModelConfig& c, int nx, MemberOutputs o) {
  const int regressed = nx + o.reward;
  return regressed + o.termination + (c.loss == Loss::gaussian_nll ? regressed : 0);
}

/// (value - mean) / std, column by column; an infinite std masks.
at::Tensor normalise(const at::Tensor& value, const std::vector<float>& mean,
                     const std::vector<float>& std, std::int64_t first, std::int64_t count) {
  const at::Tensor m =
      borrow(mean, {static_cast<std::int64_t>(mean.size())}).narrow(0, first, count);
  const at::Tensor s = borrow(std, {static_cast<std::int64_t>(std.size())}).narrow(0, first, count);
  return (value - m) / s;
}

void visit_adam(Adam& adam, const std::string& name, const TensorVisitor& visitor) {
  visitor(name + ".adam_mean", adam.mean);
  visitor(name + ".adam_variance", adam.variance);
  visitor(name + ".adam_count", adam.count);
}

}  // namespace

at::Tensor network_input(const MlpWeights& net, const std::vector<float>& x,
                         const std::vector<float>& a, int rows) {
  const std::int64_t nx = static_cast<std::int64_t>(x.size()) / rows;
  const std::int64_t nu = static_cast<std::int64_t>(a.size()) / rows;
  const at::Tensor joined =
      nu > 0 ? at::cat({borrow(x, {rows, nx}), borrow(a, {rows, nu})}, 1) : borrow(x, {rows, nx});
  return normalise(joined, net.input_mean, net.input_std, 0, nx + nu).unsqueeze(0);
}

EnsembleLearner::EnsembleLearner(const ModelConfig& config, int nx, int nu, MemberOutputs outputs,
                                 std::uint64_t seed)
    : config_(config),
      nx_(nx),
      nu_(nu),
      outputs_(outputs),
      net_(config.members,
           layer_sizes(nx + nu, config.width, config.layers, member_outputs(config, nx, outputs))),
      adam_(net_.parameters(), config.learning_rate),
      exported_(MlpWeights::zeros(config.members, net_.sizes())) {
  net_.initialise(seed, kMembers);
  export_weights();
}

double EnsembleLearner::update(const ReplayBatch& batch) {
  const int n = batch.size;
  const at::Tensor input = network_input(exported_, batch.x, batch.a, n);
  const std::int64_t regressed = nx_ + outputs_.reward;
  at::Tensor target = borrow(batch.next, {n, nx_}) - borrow(batch.x, {n, nx_});
  if (outputs_.reward) target = at::cat({target, borrow(batch.reward, {n, 1})}, 1);
  target = normalise(target, exported_.output_mean, exported_.output_std, 0, regressed);

  const at::Tensor y = net_.forward(input);
  at::Tensor dy = at::zeros_like(y);
  const at::Tensor mean = y.narrow(2, 0, regressed);
  double value;
  if (config_.loss == Loss::gaussian_nll) {
    const std::int64_t first = regressed + outputs_.termination;
    const GaussianLoss loss = gaussian_loss(mean, y.narrow(2, first, regressed), target);
    dy.narrow(2, 0, regressed).copy_(loss.mean_gradient);
    dy.narrow(2, first, regressed).copy_(loss.raw_gradient);
    value = loss.value;
  } else {
    const LossValue loss = regression_loss(mean, target, config_.loss, config_.huber_delta);
    dy.narrow(2, 0, regressed).copy_(loss.gradient);
    value = loss.value;
  }
  if (outputs_.termination) {
    const LossValue loss = binary_loss(y.narrow(2, regressed, 1), borrow(batch.terminated, {n, 1}));
    dy.narrow(2, regressed, 1).copy_(loss.gradient);
    value += loss.value;
  }
  net_.backward(dy);
  adam_.step(net_.parameters(), net_.gradient());
  return value;
}

void EnsembleLearner::visit(const TensorVisitor& visitor) {
  visitor("members.parameters", net_.parameters());
  visit_adam(adam_, "members", visitor);
}

CriticLearner::CriticLearner(const CriticConfig& config, int nx, int nu, std::uint64_t seed)
    : config_(config),
      nx_(nx),
      nu_(nu),
      net_(config.count, layer_sizes(nx + nu, config.width, config.layers, 1)),
      target_(config.count, net_.sizes()),
      adam_(net_.parameters(), config.learning_rate),
      exported_(MlpWeights::zeros(config.count, net_.sizes())),
      exported_target_(exported_) {
  net_.initialise(seed, kCritics);
  target_.parameters().copy_(net_.parameters());
  export_weights();
  export_target();
}

double CriticLearner::update(const ReplayBatch& batch, const std::vector<float>& y,
                             double& mean_value) {
  const at::Tensor input = network_input(exported_, batch.x, batch.a, batch.size);
  const at::Tensor q = net_.forward(input);  // [C, N, 1]
  // the sum over critics of each one's mean, so that their number does not change a step
  LossValue loss =
      regression_loss(q, borrow(y, {1, batch.size, 1}), config_.loss, config_.huber_delta);
  net_.backward(loss.gradient * config_.count);
  adam_.step(net_.parameters(), net_.gradient());
  ++updates_;
  if (target_moved()) polyak(target_.parameters(), net_.parameters(), config_.tau);
  mean_value = q.mean().item<double>();
  return loss.value;
}

at::Tensor CriticLearner::action_gradient(const std::vector<float>& x, const std::vector<float>& a,
                                          int rows) {
  const at::Tensor q = net_.forward(network_input(exported_, x, a, rows));
  at::Tensor dq = at::zeros_like(q);
  dq[0].fill_(1);
  const at::Tensor dinput = net_.backward(dq, /*input_gradient=*/true)[0];
  const at::Tensor std = borrow(exported_.input_std, {nx_ + nu_}).narrow(0, nx_, nu_);
  return dinput.narrow(1, nx_, nu_) / std;
}

at::Tensor CriticLearner::target_value(const std::vector<float>& x, const std::vector<float>& a,
                                       int rows) {
  return target_.forward(network_input(exported_target_, x, a, rows)).amin({0}).flatten();
}

void CriticLearner::visit(const TensorVisitor& visitor) {
  visitor("critics.parameters", net_.parameters());
  visitor("critics.target", target_.parameters());
  visit_adam(adam_, "critics", visitor);
}

PolicyLearner::PolicyLearner(const PolicyConfig& config, int nx, std::vector<float> low,
                             std::vector<float> high, std::uint64_t seed)
    : config_(config),
      nx_(nx),
      low_(std::move(low)),
      high_(std::move(high)),
      net_(1, layer_sizes(nx, config.width, config.layers, static_cast<int>(low_.size()))),
      target_(1, net_.sizes()),
      adam_(net_.parameters(), config.learning_rate),
      exported_(MlpWeights::zeros(1, net_.sizes())),
      exported_target_(exported_) {
  const std::int64_t nu = static_cast<std::int64_t>(low_.size());
  mid_ = (borrow(high_, {nu}) + borrow(low_, {nu})) * 0.5;
  half_ = (borrow(high_, {nu}) - borrow(low_, {nu})) * 0.5;
  net_.initialise(seed, kPolicy);
  target_.parameters().copy_(net_.parameters());
  export_weights();
}

at::Tensor PolicyLearner::squash(const at::Tensor& tanh_output) const {
  return mid_ + half_ * tanh_output;
}

void PolicyLearner::update(const ReplayBatch& batch, CriticLearner& critic) {
  const at::Tensor t = at::tanh(net_.forward(network_input(exported_, batch.x, {}, batch.size)));
  const at::Tensor action = squash(t[0]).contiguous();
  const std::vector<float> a(action.data_ptr<float>(), action.data_ptr<float>() + action.numel());
  // dL/dz = -1/N dQ/da da/dz
  const at::Tensor dq = critic.action_gradient(batch.x, a, batch.size);
  net_.backward((dq * (-1.0 / batch.size) * half_ * (1 - t[0].square())).unsqueeze(0));
  adam_.step(net_.parameters(), net_.gradient());
  polyak(target_.parameters(), net_.parameters(), config_.tau);
}

std::vector<float> PolicyLearner::act(const std::vector<float>& x, int rows, bool target) {
  StackedMlp& net = target ? target_ : net_;
  const at::Tensor a =
      squash(at::tanh(net.forward(network_input(exported_, x, {}, rows)))[0]).contiguous();
  return {a.data_ptr<float>(), a.data_ptr<float>() + a.numel()};
}

void PolicyLearner::export_weights() {
  net_.export_to(exported_);
  target_.export_to(exported_target_);
}

void PolicyLearner::visit(const TensorVisitor& visitor) {
  visitor("policy.parameters", net_.parameters());
  visitor("policy.target", target_.parameters());
  visit_adam(adam_, "policy", visitor);
}

}  // namespace softmpc
