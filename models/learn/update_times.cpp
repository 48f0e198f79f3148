// SPDX-License-Identifier: Apache-2.0
#include "learn/update_times.h"

#include <chrono>
#include <memory>
#include <optional>
#include <span>

#include "learn/learner.h"
#include "learn/torch_backend.h"
#include "softmpc/hd/philox.h"

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

/// One learner with what it is timed on.
struct Timed {
  std::unique_ptr<Learner> learner;
  const ReplayBatch &members, &critics;
  std::span<const float> y;
  std::vector<double>&member_times, &critic_times;

  void operator()(ThreadPool& pool) const {
    member_times.push_back(microseconds([&] {
      learner->start_members(members, pool);
      pool.finish();
      learner->finish_members();
    }));
    critic_times.push_back(microseconds([&] {
      learner->update_critics(critics, y);
      learner->publish();
    }));
  }
};

}  // namespace

UpdateTimes time_updates(const Config& config, int nx, int nu, int rounds) {
  LearnerSetup setup;
  setup.model = config.model;
  setup.critic = config.critic;
  setup.nx = nx;
  setup.nu = nu;
  setup.action_low.assign(nu, -1.0f);
  setup.action_high.assign(nu, 1.0f);
  const ReplayBatch members = random_batch(config.model.batch_size, nx, nu);
  const ReplayBatch critics = random_batch(config.critic.batch_size, nx, nu);
  const std::vector<float> y = random_values(config.critic.batch_size, 4);
  ThreadPool pool(1);
  UpdateTimes times;
  const Timed fused = {
      make_learner(LearnerKind::fused, setup), members, critics, y, times.model, times.critic};
  std::optional<Timed> torch;
  if (has_torch())
    torch.emplace(Timed{make_learner(LearnerKind::torch, setup), members, critics, y,
                        times.torch_model, times.torch_critic});
  for (int round = 0; round < rounds; ++round) {
    fused(pool);
    if (torch) (*torch)(pool);
  }
  return times;
}

}  // namespace softmpc
