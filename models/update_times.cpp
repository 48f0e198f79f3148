// SPDX-License-Identifier: Apache-2.0
#include "update_times.h"

#include <chrono>

#include "initialisation.h"
#include "learners.h"
#include "softmpc/hd/philox.h"
#include "stacked_mlp.h"

namespace softmpc {
namespace {

template <class F>
double microseconds(F&& f) {
  const auto begin = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin)
      .count();
}

std::vector<float> random_values(std::size_t count, std::uint32_t stream) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i)
    values[i] = 2 * hd::uniform(hd::philox({static_cast<std::uint32_t>(i), stream, 0, 0}, 1).x) - 1;
  return values;
}

ReplayBatch random_batch(int size, int nx, int nu) {
  ReplayBatch batch;
  batch.size = size;
  batch.x = random_values(static_cast<std::size_t>(size) * nx, 0);
  batch.a = random_values(static_cast<std::size_t>(size) * nu, 1);
  batch.next = random_values(static_cast<std::size_t>(size) * nx, 2);
  batch.reward = random_values(size, 3);
  batch.terminated.assign(size, 0);
  return batch;
}

/// A stack of networks with a mean squared error, by LibTorch: stacked matrix products, backward
/// pass written out, fused Adam over flat storage.
struct TorchUpdate {
  StackedMlp net;
  Adam adam;
  at::Tensor input, target;

  TorchUpdate(int stack, const NetSpec& spec, double rate, int rows)
      : net(stack, spec), adam(net.parameters(), rate) {
    net.initialise(1, kMembers);
    input = at::arange(rows * spec.inputs, at::kFloat).sin_().view({1, rows, spec.inputs});
    target = at::arange(rows * spec.outputs(), at::kFloat).cos_().view({1, rows, spec.outputs()});
  }
  void operator()() {
    const at::Tensor e = net.forward(input) - target;
    net.backward(e * (2.0 / static_cast<double>(e.numel())));
    adam.step(net.parameters(), net.gradient());
  }
};

}  // namespace

UpdateTimes time_updates(const Config& config, int nx, int nu, int rounds) {
  use_one_thread();
  const ModelConfig& m = config.model;
  const CriticConfig& c = config.critic;
  EnsembleLearner ensemble(m, nx, nu, {}, Precision::float32, 1);
  CriticLearner critics(c, nx, nu, 1);
  const ReplayBatch model_batch = random_batch(m.batch_size, nx, nu);
  const ReplayBatch critic_batch = random_batch(c.batch_size, nx, nu);
  const std::vector<float> y = random_values(c.batch_size, 4);
  TorchUpdate torch_model(m.members, NetSpec::mlp(nx + nu, m.width, m.layers, nx), m.learning_rate,
                          m.batch_size);
  TorchUpdate torch_critic(c.count, NetSpec::mlp(nx + nu, c.width, c.layers, 1), c.learning_rate,
                           c.batch_size);
  TrainScratch scratch;
  double q = 0;
  UpdateTimes times;
  for (int round = 0; round < rounds; ++round) {
    times.model.push_back(microseconds([&] {
      ensemble.prepare(model_batch);
      for (int e = 0; e < ensemble.members(); ++e) ensemble.update_member(e, scratch);
      ensemble.finish();
    }));
    times.critic.push_back(microseconds([&] { critics.update(critic_batch, y, q); }));
    times.torch_model.push_back(microseconds(torch_model));
    times.torch_critic.push_back(microseconds(torch_critic));
  }
  return times;
}

}  // namespace softmpc
