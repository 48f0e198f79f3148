// SPDX-License-Identifier: Apache-2.0
#include "policy_learner.h"

#include "initialisation.h"
#include "tensor_state.h"

namespace softmpc {
namespace {

void save_tensor(TensorFile& file, const std::string& name, const at::Tensor& tensor) {
  const float* data = tensor.data_ptr<float>();
  put(file, name, std::vector<float>(data, data + tensor.numel()));
}

void load_tensor(const TensorFile& file, const std::string& name, at::Tensor& tensor) {
  const std::vector<float> values = get<float>(file, name, tensor.numel());
  std::copy(values.begin(), values.end(), tensor.data_ptr<float>());
}

}  // namespace

PolicyLearner::PolicyLearner(const PolicyConfig& config, int nx, std::vector<float> low,
                             std::vector<float> high, std::uint64_t seed)
    : config_(config),
      low_(std::move(low)),
      high_(std::move(high)),
      net_(1, NetSpec::mlp(nx, config.width, config.layers, static_cast<int>(low_.size()))),
      target_(1, net_.spec()),
      adam_(net_.parameters(), config.learning_rate),
      exported_(NetWeights::zeros(1, net_.spec())),
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

/// States as a normalised batch [1, N, nx].
at::Tensor PolicyLearner::input(const std::vector<float>& x, int rows) const {
  const std::int64_t nx = static_cast<std::int64_t>(x.size()) / rows;
  const at::Tensor mean = borrow(exported_.normalisation.input_mean, {nx});
  const at::Tensor std = borrow(exported_.normalisation.input_std, {nx});
  return ((borrow(x, {rows, nx}) - mean) / std).unsqueeze(0);
}

void PolicyLearner::update(const ReplayBatch& batch, CriticLearner& critic) {
  const at::Tensor t = at::tanh(net_.forward(input(batch.x, batch.size)));
  const at::Tensor action = squash(t[0]).contiguous();
  const std::vector<float> a(action.data_ptr<float>(), action.data_ptr<float>() + action.numel());
  // dL/dz = -1/N dQ/da da/dz
  const std::vector<float> gradient = critic.action_gradient(batch.x, a, batch.size);
  const at::Tensor dq = borrow(gradient, action.sizes());
  net_.backward((dq * (-1.0 / batch.size) * half_ * (1 - t[0].square())).unsqueeze(0));
  adam_.step(net_.parameters(), net_.gradient());
  polyak(target_.parameters(), net_.parameters(), config_.tau);
}

std::vector<float> PolicyLearner::act(const std::vector<float>& x, int rows, bool target) {
  StackedMlp& net = target ? target_ : net_;
  const at::Tensor a = squash(at::tanh(net.forward(input(x, rows)))[0]).contiguous();
  return {a.data_ptr<float>(), a.data_ptr<float>() + a.numel()};
}

void PolicyLearner::export_weights() {
  net_.export_to(exported_);
  target_.export_to(exported_target_);
}

void PolicyLearner::save(TensorFile& file) const {
  save_tensor(file, "policy.parameters", net_.parameters());
  save_tensor(file, "policy.target", target_.parameters());
  save_tensor(file, "policy.adam_mean", adam_.mean);
  save_tensor(file, "policy.adam_variance", adam_.variance);
  save_tensor(file, "policy.adam_count", adam_.count);
}

void PolicyLearner::load(const TensorFile& file) {
  load_tensor(file, "policy.parameters", net_.parameters());
  load_tensor(file, "policy.target", target_.parameters());
  load_tensor(file, "policy.adam_mean", adam_.mean);
  load_tensor(file, "policy.adam_variance", adam_.variance);
  load_tensor(file, "policy.adam_count", adam_.count);
  export_weights();
}

}  // namespace softmpc
