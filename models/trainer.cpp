// SPDX-License-Identifier: Apache-2.0
// The loop of one run: episodes, updates, reports, checkpoints.
#include "softmpc/train/trainer.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <numeric>
#include <type_traits>
#include <utility>

#include "agent.h"
#include "diagnostics.h"
#include "episodes.h"
#include "health.h"
#include "io/crc32c.h"
#include "learn/tensor_state.h"
#include "run/checkpoint.h"
#include "softmpc/error.h"

namespace softmpc {
namespace {

using Clock = std::chrono::steady_clock;

/// Settings without those that may change between parts of a run. Another device, and with it the
/// precision of its plans, goes on from the same numbers: what differs is rounding.
Config fixed_settings(Config c) {
  const TrainerConfig defaults;
  c.trainer.device = defaults.device;
  c.planner.precision = PlannerConfig().precision;
  c.trainer.steps = defaults.steps;
  c.trainer.threads = defaults.threads;
  c.trainer.checkpoint_interval = defaults.checkpoint_interval;
  c.trainer.on_warning = defaults.on_warning;
  return c;
}

/// Means of the present "train" line, as they are summed up.
struct Pending {
  UpdateSums updates;
  double value = 0, samples = 0;  // over environment steps
  std::int64_t steps = 0;

  /// The fields in the order of a checkpoint; f(field) for each.
  template <class F>
  void visit(const F& f) {
    f(updates.critic_loss);
    f(updates.model_loss);
    f(updates.q);
    f(updates.target);
    f(updates.critic_updates);
    f(updates.model_updates);
    f(value);
    f(samples);
    f(steps);
  }
};

/// What the present step still lacks after its environments have moved.
enum class Open : std::int64_t { nothing, updates, evaluation };

}  // namespace

struct Trainer::Impl {
  Config config;
  const Task& task;
  ThreadPool pool;
  std::unique_ptr<Agent> agent;
  Episodes episodes;
  Diagnostics diagnostics;

  std::int64_t step = 0;         // environment steps, over all environments
  std::int64_t update_debt = 0;  // steps whose updates wait for an episode's end
  Open open = Open::nothing;
  std::deque<Updates> updates;  // of the present step, in order
  Pending pending;
  Clock::time_point report_time = Clock::now();
  std::int64_t report_step = 0;
  std::string stopped_by;         // the warning that ended run()
  std::int64_t critics_from = 0;  // the step of the critics' start values

  Impl(const Config& c, const Task& t, std::shared_ptr<cuda::Device> device)
      : config(c),
        task(t),
        pool(c.trainer.threads),
        agent(make_agent(c, t, pool, std::move(device))),
        episodes(c, t),
        diagnostics(c.trainer.envs, make_rollout_reward(t, task_options(c.environment))) {}

  /// One step of every environment, and of its updates those that go beside it.
  void advance(TrainObserver& observer, const std::atomic<bool>* stop) {
    const int n = episodes.count();
    episodes.begin(*agent);
    const std::span<const float> actions = agent->act(episodes.observations(), step);
    const std::span<const double> values = agent->values(), samples = agent->effective_samples();
    pending.value += std::accumulate(values.begin(), values.end(), 0.0);
    pending.samples += std::accumulate(samples.begin(), samples.end(), 0.0);
    pending.steps += n;
    bool ended = false;
    const Simulation simulation = {n, [&](int e) { episodes.step(e, actions); },
                                   [&] { ended = episodes.store(*agent, step, observer); }};
    if (agent->replay().added() + n < config.trainer.learning_starts) {
      agent->simulate(simulation);
    } else if (config.trainer.pattern == Pattern::online) {
      updates.push_back({n});
      agent->simulate_and_update(simulation, updates.back(), pending.updates, stop);
    } else {
      agent->simulate(simulation);
      plan_by_episode(n, ended);
    }
    for (int e = 0; e < n; ++e) diagnostics.add(values[e], episodes.ended(e));
    step += n;
    open = Open::updates;
  }

  void plan_by_episode(int steps, bool ended) {
    const bool episodic = config.trainer.pattern == Pattern::episodic;
    update_debt += steps;
    if (!episodic) updates.push_back({steps, true, false});
    if (!ended) return;
    updates.push_back({update_debt, episodic, true});
    update_debt = 0;
  }

  /// True if the last step of all environments reached or passed a multiple.
  bool every(std::int64_t interval) const {
    return interval > 0 && step / interval > (step - episodes.count()) / interval;
  }

  /// What the step lacks; false if *stop came before its end.
  bool complete(TrainObserver& observer, const std::atomic<bool>* stop) {
    if (open == Open::updates) {
      for (; !updates.empty(); updates.pop_front()) {
        if (!agent->update(updates.front(), pending.updates, stop)) return false;
      }
      if (every(config.trainer.log_interval)) report(observer);
      open = Open::evaluation;
    }
    if (every(config.trainer.eval_interval) && !evaluate(observer, stop)) return false;
    open = Open::nothing;
    return true;
  }

  void report(TrainObserver& observer) {
    agent->finish(pending.updates);
    const auto now = Clock::now();
    const double seconds = std::chrono::duration<double>(now - report_time).count();
    TrainReport r;
    r.step = step;
    r.steps_per_second = static_cast<double>(step - report_step) / seconds;
    const auto mean = [](double sum, std::int64_t count) {
      return sum / static_cast<double>(std::max<std::int64_t>(count, 1));
    };
    const UpdateSums& sums = pending.updates;
    r.values["value"] = mean(pending.value, pending.steps);
    r.values["effective_samples"] = mean(pending.samples, pending.steps);
    if (sums.critic_updates > 0) {
      r.values["critic_loss"] = mean(sums.critic_loss, sums.critic_updates);
      r.values["q"] = mean(sums.q, sums.critic_updates);
      r.values["target"] = mean(sums.target, sums.critic_updates);
    }
    if (sums.model_updates > 0) r.values["model_loss"] = mean(sums.model_loss, sums.model_updates);
    diagnostics.judge(agent->replay(), agent->bundle(), pool, r.values);
    const std::vector<Warning> warnings = warnings_of(r.values, critic_age());
    for (const Warning& warning : warnings) r.warnings.push_back(warning.text);
    observer.on_train(r);
    if (!warnings.empty()) answer(warnings);
    pending = {};
    report_time = now;
    report_step = step;
  }

  /// Updates of the critics that a report judges: those of the report before.
  std::int64_t critic_age() const {
    const std::int64_t judged = step - config.trainer.log_interval;
    return (judged - std::max<std::int64_t>(config.trainer.learning_starts, critics_from)) *
           config.critic.updates_per_step;
  }

  void answer(const std::vector<Warning>& warnings) {
    if (config.trainer.on_warning == OnWarning::stop)
      stopped_by = "training stopped at step " + std::to_string(step) +
                   " (trainer.on_warning is stop): " + warnings.front().text;
    if (config.trainer.on_warning != OnWarning::recover) return;
    for (const Network network : {kMembers, kCritics}) {
      if (std::ranges::none_of(warnings, [&](const Warning& w) { return w.of == network; }))
        continue;
      // other start values than those that led here
      agent->learn_anew(network, config.trainer.seed ^ static_cast<std::uint64_t>(step) << 32);
      if (network == kCritics) critics_from = step;
    }
  }

  /// False, and nothing reported, if *stop came before the last episode's end.
  bool evaluate(TrainObserver& observer, const std::atomic<bool>* stop) {
    PlayOptions options;
    options.episodes = config.trainer.eval_episodes;
    // the same start states at each evaluation of a run, and none of training's
    options.seed = ~config.trainer.seed;
    options.threads = config.trainer.threads;
    options.stop = stop;
    const std::vector<double> returns = play(agent->bundle(), task, options);
    if (returns.size() < static_cast<std::size_t>(options.episodes)) return false;
    observer.on_eval({step, returns});
    return true;
  }

  void save(CheckpointFolder& folder, TrainObserver& observer) {
    agent->finish(pending.updates);
    TensorFile file;
    file.metadata["observer"] = observer.on_checkpoint(step);
    file.metadata["config"] = to_json(fixed_settings(config), 0);
    file.metadata["task"] = task.name();
    agent->save(file);
    episodes.save(file);
    diagnostics.save(file);
    put<std::int64_t>(file, "trainer.counters", {step, update_debt});
    if (critics_from > 0) put<std::int64_t>(file, "trainer.critics_from", {critics_from});
    if (open != Open::nothing) put<std::int64_t>(file, "trainer.open", open_work());
    std::vector<double> fields;
    pending.visit([&](auto& field) { fields.push_back(static_cast<double>(field)); });
    put(file, "trainer.report", fields);
    folder.write(step, file, agent->replay());
  }

  std::vector<std::int64_t> open_work() const {
    std::vector<std::int64_t> words = {static_cast<std::int64_t>(open)};
    for (const Updates& u : updates)
      words.insert(words.end(), {u.count, u.critic, u.model, u.done});
    return words;
  }

  void restore_open_work(const std::vector<std::int64_t>& words) {
    open = static_cast<Open>(words.at(0));
    updates.clear();
    for (std::size_t i = 1; i + 4 <= words.size(); i += 4)
      updates.push_back({words[i], words[i + 1] != 0, words[i + 2] != 0, words[i + 3]});
  }

  void load(const TensorFile& file, CheckpointFolder& folder) {
    agent->load(file);
    folder.read_replay(agent->replay());
    agent->replay_restored();
    episodes.load(file);
    diagnostics.load(file, agent->bundle());
    const auto counters = get<std::int64_t>(file, "trainer.counters", 2);
    step = counters[0];
    update_debt = counters[1];
    const auto from_step = file.tensors.find("trainer.critics_from");
    if (from_step != file.tensors.end())
      critics_from = from_step->second.values<std::int64_t>().at(0);
    const auto left = file.tensors.find("trainer.open");
    if (left != file.tensors.end()) restore_open_work(left->second.values<std::int64_t>());
    std::size_t count = 0;
    pending.visit([&](auto&) { ++count; });
    const std::vector<double> fields = get<double>(file, "trainer.report", count);
    auto from = fields.begin();
    pending.visit(
        [&](auto& field) { field = static_cast<std::decay_t<decltype(field)>>(*from++); });
    report_step = step;
    report_time = Clock::now();
  }
};

Trainer::Trainer(const Config& config, const Task& task, std::shared_ptr<cuda::Device> device) {
  validate(config);
  Config resolved = config;
  const TaskSpec spec = task.spec(task_options(config.environment));
  resolved.planner.precision = resolve_precision(config, spec.nx, spec.nu);
  impl_ = std::make_unique<Impl>(resolved, task, std::move(device));
}
Trainer::~Trainer() = default;

std::int64_t Trainer::step() const { return impl_->step; }
bool Trainer::finished() const {
  return impl_->step >= impl_->config.trainer.steps && impl_->open == Open::nothing;
}
Bundle Trainer::bundle() const { return impl_->agent->bundle(); }

bool Trainer::resume(const std::string& checkpoint_dir, std::string* observer_state) {
  CheckpointFolder folder(checkpoint_dir);
  TensorFile file;
  if (!folder.read_state(file)) return false;
  if (file.metadata["task"] != impl_->task.name())
    throw Error(checkpoint_dir + ": the checkpoint is of " + file.metadata["task"] + ", not of " +
                std::string(impl_->task.name()));
  // by way of a Config: a setting that is newer than the checkpoint has its default there
  Config recorded;
  apply_settings(recorded, file.metadata["config"], checkpoint_dir + ": its settings");
  if (fixed_settings(recorded) != fixed_settings(impl_->config))
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
  std::int64_t saved = -1;
  t.report_time = Clock::now();
  t.report_step = t.step;
  while (!finished() && !(stop && stop->load())) {
    if (t.open == Open::nothing) t.advance(observer, stop);
    if (!t.complete(observer, stop)) break;
    if (!checkpoint_dir.empty() && t.every(c.checkpoint_interval)) {
      t.save(folder, observer);
      saved = t.step;
    }
    observer.on_step(t.step);
    if (!t.stopped_by.empty()) break;
  }
  if (!checkpoint_dir.empty() && saved != t.step) t.save(folder, observer);
  if (!t.stopped_by.empty()) throw Error(std::exchange(t.stopped_by, {}));
}

std::uint64_t Trainer::state_hash() const {
  TensorFile file;
  Replay& replay = impl_->agent->replay();
  impl_->agent->save(file);
  std::uint32_t low = crc32c(encode_safetensors(file)), high = 0;
  for (std::int64_t slot = 0; slot < replay.size(); ++slot) {
    high = crc32c(std::as_bytes(replay.record(slot)), high);
    high = crc32c(std::as_bytes(replay.plan(slot)), high);
  }
  return static_cast<std::uint64_t>(high) << 32 | low;
}

}  // namespace softmpc
