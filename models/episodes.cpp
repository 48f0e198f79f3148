// SPDX-License-Identifier: Apache-2.0
#include "episodes.h"

#include <algorithm>
#include <string>

#include "learn/tensor_state.h"
#include "softmpc/error.h"
#include "softmpc/hd/philox.h"

namespace softmpc {

std::uint64_t reset_seed(std::uint64_t seed, std::uint32_t episode, std::uint32_t purpose) {
  const hd::Philox4 bits =
      hd::philox({episode, hd::draw_word(hd::Stream::reset, 0, 0, 0), purpose, 0}, seed);
  return static_cast<std::uint64_t>(bits.x) << 32 | bits.y;
}

Episodes::Episodes(const Config& config, const Task& task) : seed_(config.trainer.seed) {
  running_.resize(config.trainer.envs);
  for (Running& r : running_) {
    r.environment = task.make_environment(task_options(config.environment));
    nx_ = r.environment->observation_size();
    nu_ = r.environment->action_size();
    r.observation.resize(nx_);
  }
  x_.resize(running_.size() * nx_);
  next_.resize(x_.size());
}

void Episodes::begin(Agent& agent) {
  for (int e = 0; e < count(); ++e) {
    Running& r = running_[e];
    if (!r.fresh) continue;
    r.environment->reset(reset_seed(seed_, episode_, 0), r.observation);
    std::ranges::copy(r.observation, row(x_, e).begin());
    agent.start_episode(e, episode_);
    ++episode_;
    r.episode_return = 0;
    r.length = 0;
    r.fresh = false;
  }
}

void Episodes::step(int e, std::span<const float> actions) {
  Running& r = running_[e];
  r.last = r.environment->step(actions.subspan(e * nu_, nu_), r.observation);
  std::ranges::copy(r.observation, row(next_, e).begin());
}

bool Episodes::store(Agent& agent, std::int64_t step, TrainObserver& observer) {
  bool ended = false;
  for (int e = 0; e < count(); ++e) {
    Running& r = running_[e];
    agent.store(e, row(x_, e), row(next_, e), static_cast<float>(r.last.reward), r.last.terminated);
    r.episode_return += r.last.reward;
    ++r.length;
    r.fresh = r.last.terminated || r.last.truncated;
    ended |= r.fresh;
    if (r.fresh) observer.on_episode({step + e + 1, r.episode_return, static_cast<int>(r.length)});
  }
  x_.swap(next_);
  return ended;
}

void Episodes::save(TensorFile& file) const {
  std::vector<std::int64_t> counters = {episode_};
  std::vector<double> returns, observations;
  for (int e = 0; e < count(); ++e) {
    const Running& r = running_[e];
    counters.insert(counters.end(), {r.fresh, r.length});
    returns.push_back(r.episode_return);
    observations.insert(observations.end(), r.observation.begin(), r.observation.end());
    const std::vector<std::byte> state = r.environment->save();
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(state.data());
    put(file, "episodes.environment" + std::to_string(e),
        std::vector<std::uint8_t>(bytes, bytes + state.size()));
  }
  put(file, "episodes.counters", counters);
  put(file, "episodes.return", returns);
  put(file, "episodes.observation", observations);
}

void Episodes::load(const TensorFile& file) {
  const std::size_t n = running_.size();
  const auto counters = get<std::int64_t>(file, "episodes.counters", 1 + 2 * n);
  const auto returns = get<double>(file, "episodes.return", n);
  const auto observations = get<double>(file, "episodes.observation", n * nx_);
  episode_ = static_cast<std::uint32_t>(counters[0]);
  std::ranges::copy(observations, x_.begin());
  for (std::size_t e = 0; e < n; ++e) {
    Running& r = running_[e];
    r.fresh = counters[1 + 2 * e] != 0;
    r.length = counters[2 + 2 * e];
    r.episode_return = returns[e];
    std::copy_n(observations.begin() + static_cast<std::ptrdiff_t>(e * nx_), nx_,
                r.observation.begin());
    const std::string name = "episodes.environment" + std::to_string(e);
    const auto found = file.tensors.find(name);
    if (found == file.tensors.end()) throw Error("has no entry '" + name + "'");
    // an episode that is over needs no simulator state: the next step resets
    if (!r.fresh) r.environment->load(found->second.bytes);
  }
}

}  // namespace softmpc
