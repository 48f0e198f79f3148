// SPDX-License-Identifier: Apache-2.0
// The loop of one run: episodes, updates, reports, checkpoints.
#include "softmpc/train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>

#include "agent.h"
#include "checkpoint.h"
#include "crc32c.h"
#include "softmpc/error.h"
#include "softmpc/hd/philox.h"
#include "tensor_state.h"

namespace softmpc {
namespace {

using Clock = std::chrono::steady_clock;

/// The seed of an episode's reset.
std::uint64_t reset_seed(std::uint64_t seed, std::uint32_t episode) {
  const hd::Philox4 bits =
      hd::philox({episode, hd::draw_word(hd::Stream::reset, 0, 0, 0), 0, 0}, seed);
  return static_cast<std::uint64_t>(bits.x) << 32 | bits.y;
}

/// Settings without those that may change between parts of a run.
Config fixed_settings(Config c) {
  const TrainerConfig defaults;
  c.trainer.steps = defaults.steps;
  c.trainer.threads = defaults.threads;
  c.trainer.checkpoint_interval = defaults.checkpoint_interval;
  return c;
}

std::vector<double> double_bits(const UpdateSums& s) {
  return {s.critic_loss,
          s.model_loss,
          s.q,
          s.target,
          static_cast<double>(s.critic_updates),
          static_cast<double>(s.model_updates)};
}

}  // namespace

struct Trainer::Impl {
  Config config;
  const Task& task;
  ThreadPool pool;
  Agent agent;
  std::unique_ptr<Environment> environment;

  // of the run
  std::int64_t step = 0;
  // of the episode
  std::uint32_t episode = 0;
  bool fresh = true;  // the next step starts an episode
  double episode_return = 0;
  std::int64_t length = 0, update_debt = 0;  // debt: steps whose updates wait for the episode's end
  std::vector<double> observation;
  std::vector<float> x, next;
  // of the present "train" line
  UpdateSums sums;
  double value_sum = 0, samples_sum = 0;
  Clock::time_point report_time = Clock::now();
  std::int64_t report_step = 0;

  Impl(const Config& c, const Task& t)
      : config(c),
        task(t),
        pool(c.trainer.threads),
        agent(c, t, pool),
        environment(t.make_environment({c.environment.positions, c.environment.time_limit})) {
    observation.resize(environment->observation_size());
    x.resize(observation.size());
    next.resize(observation.size());
  }

  void begin_episode() {
    environment->reset(reset_seed(config.trainer.seed, episode), observation);
    std::copy(observation.begin(), observation.end(), x.begin());
    agent.start_episode(episode);
    ++episode;
    episode_return = 0;
    length = 0;
    fresh = false;
  }

  /// One environment step and the updates that belong to it.
  void advance(TrainObserver& observer) {
    if (fresh) begin_episode();
    const std::span<const float> action = agent.act(x, step);
    value_sum += agent.value();
    samples_sum += agent.effective_samples();
    const Transition t = environment->step(action, observation);
    std::copy(observation.begin(), observation.end(), next.begin());
    agent.store(x, next, static_cast<float>(t.reward), t.terminated);
    x.swap(next);
    ++step;
    ++length;
    episode_return += t.reward;
    const bool ended = t.terminated || t.truncated;
    learn(ended);
    if (ended) {
      observer.on_episode({step, episode_return, static_cast<int>(length)});
      fresh = true;
    }
  }

  void learn(bool ended) {
    if (agent.replay().added() < config.trainer.learning_starts) return;
    const Pattern pattern = config.trainer.pattern;
    ++update_debt;
    if (pattern != Pattern::episodic) agent.update(1, true, pattern == Pattern::online, sums);
    if (pattern == Pattern::online) {
      update_debt = 0;
    } else if (ended) {
      agent.update(update_debt, pattern == Pattern::episodic, true, sums);
      update_debt = 0;
    }
  }

  void report(TrainObserver& observer) {
    const auto now = Clock::now();
    const double seconds = std::chrono::duration<double>(now - report_time).count();
    TrainReport r;
    r.step = step;
    r.steps_per_second = static_cast<double>(step - report_step) / seconds;
    const double n = static_cast<double>(config.trainer.log_interval);
    const auto mean = [](double sum, std::int64_t count) {
      return sum / static_cast<double>(std::max<std::int64_t>(count, 1));
    };
    r.values["value"] = value_sum / n;
    r.values["effective_samples"] = samples_sum / n;
    if (sums.critic_updates > 0) {
      r.values["critic_loss"] = mean(sums.critic_loss, sums.critic_updates);
      r.values["q"] = mean(sums.q, sums.critic_updates);
      r.values["target"] = mean(sums.target, sums.critic_updates);
    }
    if (sums.model_updates > 0) r.values["model_loss"] = mean(sums.model_loss, sums.model_updates);
    observer.on_train(r);
    sums = {};
    value_sum = samples_sum = 0;
    report_time = now;
    report_step = step;
  }

  void evaluate(TrainObserver& observer) {
    PlayOptions options;
    options.episodes = config.trainer.eval_episodes;
    // the same start states at each evaluation of a run, and none of training's
    options.seed = ~config.trainer.seed;
    options.threads = config.trainer.threads;
    observer.on_eval({step, play(agent.bundle(), task, options)});
  }

  void save(CheckpointFolder& folder, TrainObserver& observer) {
    TensorFile file;
    file.metadata["observer"] = observer.on_checkpoint(step);
    file.metadata["config"] = to_json(fixed_settings(config), 0);
    file.metadata["task"] = task.name();
    agent.save(file);
    const std::vector<std::int64_t> counters = {step, episode, fresh, length, update_debt};
    put(file, "trainer.counters", counters);
    put<double>(file, "trainer.episode_return", {episode_return});
    put(file, "trainer.observation", observation);
    std::vector<double> pending = double_bits(sums);
    pending.push_back(value_sum);
    pending.push_back(samples_sum);
    put(file, "trainer.report", pending);
    const std::vector<std::byte> state = environment->save();
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(state.data());
    put(file, "trainer.environment", std::vector<std::uint8_t>(bytes, bytes + state.size()));
    folder.write(step, file, agent.replay());
  }

  void load(const TensorFile& file, CheckpointFolder& folder) {
    agent.load(file);
    folder.read_replay(agent.replay());
    const auto counters = get<std::int64_t>(file, "trainer.counters", 5);
    step = counters[0];
    episode = static_cast<std::uint32_t>(counters[1]);
    fresh = counters[2] != 0;
    length = counters[3];
    update_debt = counters[4];
    episode_return = get<double>(file, "trainer.episode_return", 1)[0];
    observation = get<double>(file, "trainer.observation", observation.size());
    std::copy(observation.begin(), observation.end(), x.begin());
    const auto pending = get<double>(file, "trainer.report", 8);
    sums = {pending[0],
            pending[1],
            pending[2],
            pending[3],
            static_cast<std::int64_t>(pending[4]),
            static_cast<std::int64_t>(pending[5])};
    value_sum = pending[6];
    samples_sum = pending[7];
    const auto found = file.tensors.find("trainer.environment");
    if (found == file.tensors.end()) throw Error("has no entry 'trainer.environment'");
    // an episode that is over needs no simulator state: the next step resets
    if (!fresh) environment->load(found->second.bytes);
    report_step = step;
    report_time = Clock::now();
  }
};

Trainer::Trainer(const Config& config, const Task& task) {
  validate(config);
  if (config.trainer.device == "cuda")
    throw Error("trainer.device: this build has no CUDA backend; use cpu or auto");
  impl_ = std::make_unique<Impl>(config, task);
}
Trainer::~Trainer() = default;

std::int64_t Trainer::step() const { return impl_->step; }
Bundle Trainer::bundle() const { return impl_->agent.bundle(); }

bool Trainer::resume(const std::string& checkpoint_dir, std::string* observer_state) {
  CheckpointFolder folder(checkpoint_dir);
  TensorFile file;
  if (!folder.read_state(file)) return false;
  if (file.metadata["task"] != impl_->task.name())
    throw Error(checkpoint_dir + ": the checkpoint is of " + file.metadata["task"] + ", not of " +
                std::string(impl_->task.name()));
  if (file.metadata["config"] != to_json(fixed_settings(impl_->config), 0))
    throw Error(checkpoint_dir + ": the checkpoint was made with other settings");
  try {
    impl_->load(file, folder);
  } catch (const Error& e) {
    const std::string text = e.what();
    throw Error(text.starts_with(checkpoint_dir) ? text : checkpoint_dir + ": " + text);
  }
  if (observer_state) *observer_state = file.metadata["observer"];
  return true;
}

void Trainer::run(TrainObserver& observer, const std::string& checkpoint_dir,
                  const std::atomic<bool>* stop) {
  Impl& t = *impl_;
  const TrainerConfig& c = t.config.trainer;
  CheckpointFolder folder(checkpoint_dir);
  const auto every = [&](std::int64_t interval) { return interval > 0 && t.step % interval == 0; };
  std::int64_t saved = -1;
  t.report_time = Clock::now();
  t.report_step = t.step;
  while (t.step < c.steps && !(stop && stop->load())) {
    t.advance(observer);
    if (every(c.log_interval)) t.report(observer);
    if (every(c.eval_interval)) t.evaluate(observer);
    if (!checkpoint_dir.empty() && every(c.checkpoint_interval)) {
      t.save(folder, observer);
      saved = t.step;
    }
    observer.on_step(t.step);
  }
  if (!checkpoint_dir.empty() && saved != t.step) t.save(folder, observer);
}

std::uint64_t Trainer::state_hash() const {
  TensorFile file;
  Replay& replay = impl_->agent.replay();
  impl_->agent.save(file);
  std::uint32_t low = crc32c(encode_safetensors(file)), high = 0;
  for (std::int64_t slot = 0; slot < replay.size(); ++slot) {
    high = crc32c(std::as_bytes(replay.record(slot)), high);
    high = crc32c(std::as_bytes(replay.plan(slot)), high);
  }
  return static_cast<std::uint64_t>(high) << 32 | low;
}

}  // namespace softmpc
