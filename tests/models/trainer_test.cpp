// SPDX-License-Identifier: Apache-2.0
// Tests for models/trainer.cpp and models/agent.cpp: determinism, resume, and every way of training
// that a setting offers.
#include "softmpc/train/trainer.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>

#include "agent.h"
#include "learn/initialisation.h"
#include "softmpc/error.h"
#include "softmpc/hd/philox.h"

namespace softmpc {
namespace {

namespace fs = std::filesystem;

/// Small nets, so that a few hundred steps take a second.
using Settings = std::vector<const char*>;

Config small(const Settings& settings = {}) {
  Config c;
  for (const char* s :
       {"planner.rollouts=24", "planner.horizon=3", "targets.rollouts=6", "model.width=16",
        "critic.width=16", "policy.width=16", "model.members=3", "model.batch_size=8",
        "critic.batch_size=8", "trainer.steps=120", "trainer.log_interval=50", "trainer.threads=1"})
    apply_setting(c, s);
  for (const char* s : settings) apply_setting(c, s);
  return c;
}

/// What a run reported, times apart.
struct Recorder : TrainObserver {
  std::vector<std::string> lines;
  std::atomic<bool>* stop = nullptr;
  std::int64_t stop_at = -1;
  void on_episode(const EpisodeEnd& e) override {
    add("episode", e.step, {e.episode_return, static_cast<double>(e.length)});
  }
  void on_train(const TrainReport& r) override {
    std::vector<double> values;
    std::string names;
    for (const auto& [name, value] : r.values) {
      values.push_back(value);
      names += name + " ";
    }
    add(("train " + names).c_str(), r.step, values);
  }
  void on_eval(const EvalReport& r) override { add("eval", r.step, r.returns); }
  void on_step(std::int64_t step) override {
    if (step == stop_at) *stop = true;
  }
  std::string on_checkpoint(std::int64_t) override { return std::to_string(lines.size()); }
  void add(const char* kind, std::int64_t step, const std::vector<double>& values) {
    char text[64];
    std::string line = kind + std::to_string(step);
    for (double v : values) {
      std::snprintf(text, sizeof text, " %a", v);
      line += text;
    }
    lines.push_back(line);
  }
};

/// What a run reported, and the hash of its state.
using Outcome = std::pair<std::vector<std::string>, std::uint64_t>;

Outcome outcome_of(const Config& c, const std::string& task) {
  Trainer trainer(c, find_task(task));
  Recorder recorder;
  trainer.run(recorder, "");
  return {recorder.lines, trainer.state_hash()};
}

struct Folder {
  Folder()
      : path(fs::temp_directory_path() / ("softmpc_trainer_test_" + std::to_string(::getpid()))) {
    fs::remove_all(path);
  }
  ~Folder() { fs::remove_all(path); }
  fs::path path;
};

TEST(Trainer, SameSeedSameBitsForAnyNumberOfThreads) {
  for (const char* task : {"InvertedPendulum", "Hopper"}) {
    const Outcome one = outcome_of(small(), task);
    EXPECT_EQ(one, outcome_of(small(), task));
    EXPECT_EQ(one, outcome_of(small({"trainer.threads=2"}), task));
    EXPECT_EQ(one, outcome_of(small({"trainer.threads=3"}), task));
    EXPECT_NE(one.second, outcome_of(small({"trainer.seed=2"}), task).second);
  }
}

/// A policy that proposes and climbs rollouts.
const Settings kProposing = {"planner.proposals=plan_and_policy", "policy.objective=rollout",
                             "policy.update_interval=1"};

TEST(Trainer, APolicyThatProposesIsTheSameBitsForAnyNumberOfThreads) {
  for (const char* task : {"Hopper", "pendulum"}) {
    Config c = small(kProposing);
    const Outcome one = outcome_of(c, task);
    EXPECT_NE(one.second, outcome_of(small(), task).second);
    c.trainer.threads = 2;
    EXPECT_EQ(one, outcome_of(c, task)) << task;
  }
}

/// Runs with a stop at `stop_at` and a resume in a new trainer; the lines are joined.
Outcome interrupted(const Config& c, std::int64_t stop_at) {
  Folder folder;
  const Task& task = find_task("InvertedPendulum");
  Recorder recorder;
  std::atomic<bool> stop = false;
  {
    Trainer trainer(c, task);
    recorder.stop = &stop;
    recorder.stop_at = stop_at;
    trainer.run(recorder, folder.path, &stop);
    EXPECT_EQ(trainer.step(), stop_at);
  }
  Trainer trainer(c, task);
  std::string kept;
  EXPECT_TRUE(trainer.resume(folder.path, &kept));
  recorder.lines.resize(std::stoul(kept));
  recorder.stop_at = -1;
  trainer.run(recorder, folder.path);
  return {recorder.lines, trainer.state_hash()};
}

TEST(Trainer, AResumedRunIsBitForBitTheUninterruptedOne) {
  const std::vector<Settings> variants = {
      {},
      {"model.normalisation=running", "critic.normalisation=running", "critic.count=2"},
      {"trainer.pattern=model_per_episode", "trainer.eval_interval=60", "trainer.eval_episodes=1"},
      {"trainer.pattern=episodic", "planner.control_mode=policy_residual"},
      {"trainer.replay_capacity=50"},
      {"planner.precision=bfloat16"},
      kProposing};
  for (const auto& variant : variants) {
    const Config c = small(variant);
    Trainer whole(c, find_task("InvertedPendulum"));
    Recorder recorder;
    whole.run(recorder, "");
    for (std::int64_t stop_at : {1, 2, 33, 77}) {
      const auto [lines, hash] = interrupted(c, stop_at);
      EXPECT_EQ(lines, recorder.lines);
      EXPECT_EQ(hash, whole.state_hash());
    }
  }
}

TEST(Trainer, SeveralEnvironmentsResumeBitForBit) {
  const Config c = small({"trainer.envs=2", "environment.time_limit=20"});
  Trainer whole(c, find_task("InvertedPendulum"));
  Recorder recorder;
  whole.run(recorder, "");
  for (std::int64_t stop_at : {2, 34, 78}) {
    const auto [lines, hash] = interrupted(c, stop_at);
    EXPECT_EQ(lines, recorder.lines);
    EXPECT_EQ(hash, whole.state_hash());
  }
}

// A line after a checkpoint judges nets that are older than the checkpoint.
TEST(Trainer, ALineAfterAResumeJudgesTheSameNets) {
  const Config c = small({"trainer.log_interval=40", "planner.handle_terminations=true"});
  Trainer whole(c, find_task("InvertedPendulum"));
  Recorder recorder;
  whole.run(recorder, "");
  EXPECT_NE(recorder.lines.back().find("model_rmse_horizon"), std::string::npos);
  EXPECT_NE(recorder.lines.back().find("q_bias"), std::string::npos);
  for (std::int64_t stop_at : {39, 40, 41, 100}) {
    EXPECT_EQ(interrupted(c, stop_at).first, recorder.lines) << "stopped at " << stop_at;
  }
}

TEST(Trainer, ResumeRefusesOtherSettings) {
  Folder folder;
  Recorder recorder;
  Trainer(small(), find_task("InvertedPendulum")).run(recorder, folder.path);
  Trainer other(small({"critic.tau=0.1"}), find_task("InvertedPendulum"));
  EXPECT_THROW(other.resume(folder.path, nullptr), Error);
  Trainer elsewhere(small(), find_task("lq"));
  EXPECT_THROW(elsewhere.resume(folder.path, nullptr), Error);
  Trainer longer(small({"trainer.steps=130", "trainer.threads=2"}), find_task("InvertedPendulum"));
  EXPECT_TRUE(longer.resume(folder.path, nullptr));
  EXPECT_EQ(longer.step(), 120);
}

TEST(Trainer, EverySettingOfTheMethodTrains) {
  const std::vector<std::pair<const char*, Settings>> variants = {
      {"InvertedDoublePendulum", {"planner.prior=uniform", "planner.variance=0.05"}},
      {"InvertedPendulum", {"model.loss=huber", "critic.loss=huber"}},
      {"InvertedPendulum", {"model.loss=gaussian_nll"}},
      {"InvertedPendulum", {"critic.count=3"}},
      {"InvertedPendulum", {"targets.warm_start=false", "targets.iterations=3"}},
      {"InvertedPendulum", {"targets.horizon=1", "targets.temperature=0.3"}},
      {"InvertedPendulum", {"targets.source=policy"}},
      {"InvertedPendulum",
       {"planner.proposals=plan_and_policy", "policy.objective=rollout", "critic.imagined_steps=2",
        "policy.update_interval=3"}},
      {"InvertedPendulum", {"environment.clip_velocities=false", "trainer.random_steps=30"}},
      {"InvertedPendulum", {"trainer.acting=policy"}},
      {"InvertedPendulum", {"planner.control_mode=mean_residual"}},
      {"InvertedPendulum", {"planner.control_mode=policy_residual"}},
      {"InvertedPendulum", kProposing},
      {"InvertedPendulum", {"planner.proposals=plan_and_policy", "planner.prior=uniform"}},
      {"InvertedPendulum", {"trainer.acting=policy", "policy.objective=rollout"}},
      {"InvertedPendulum", {"planner.member_draw=per_rollout_step"}},
      {"InvertedPendulum", {"planner.member_draw=per_rollout", "planner.handle_terminations=true"}},
      {"InvertedPendulum", {"model.source=environment", "trainer.steps=10"}},
      {"InvertedPendulum",
       {"model.reward=always", "model.termination=always", "planner.handle_terminations=true"}},
      {"InvertedPendulum", {"model.updates_per_step=2", "critic.updates_per_step=3"}},
      {"Humanoid", {"trainer.steps=20"}},
      {"lq", {}},
      {"pendulum", {}}};
  for (const auto& [task, settings] : variants) {
    SCOPED_TRACE(std::string(task) + (settings.size() ? std::string(" ") + settings.front() : ""));
    const Config c = small(settings);
    Trainer trainer(c, find_task(task));
    Recorder recorder;
    ASSERT_NO_THROW(trainer.run(recorder, ""));
    const Bundle b = trainer.bundle(), start = Trainer(c, find_task(task)).bundle();
    EXPECT_NO_THROW(b.critics.validate("critics"));
    EXPECT_NE(b.critics.parameters, start.critics.parameters) << "no critic learned";
    if (c.model.source == ModelSource::learned) {
      EXPECT_NO_THROW(b.members.validate("members"));
      EXPECT_NE(b.members.parameters, start.members.parameters) << "no member learned";
    }
    ASSERT_EQ(b.policy.has_value(), start.policy.has_value());
    if (b.policy) {
      EXPECT_NO_THROW(b.policy->validate("policy"));
      EXPECT_NE(b.policy->parameters, start.policy->parameters) << "no policy learned";
    }
  }
}

TEST(Trainer, SettingsThatDoNotFitTheTaskAreNamed) {
  const auto message = [](const Settings& settings, const char* task) {
    try {
      Trainer(small(settings), find_task(task));
    } catch (const UsageError& e) {
      return std::string(e.what());
    }
    return std::string("no UsageError");
  };
  EXPECT_NE(message({"model.reward=never"}, "Humanoid").find("model.reward"), std::string::npos);
  EXPECT_NE(
      message({"planner.handle_terminations=true"}, "HalfCheetah").find("handle_terminations"),
      std::string::npos);
  EXPECT_EQ(message({"trainer.acting=policy", "policy.objective=rollout", "model.reward=never"},
                    "InvertedPendulum"),
            "policy.objective: rollout needs a learned reward, and model.reward is never; use "
            "automatic or always");
  EXPECT_NE(message({"planner.variance=[0.1,0.2]"}, "Hopper").find("variance"), std::string::npos);
  EXPECT_NE(message({"model.source=environment"}, "Humanoid").find("Humanoid"), std::string::npos);
}

/// Settings under which a critic runs away in a few hundred steps.
const Settings kRunaway = {"critic.updates_per_step=20", "critic.tau=1",
                           "critic.target_interval=1",   "critic.learning_rate=0.01",
                           "planner.gamma=1.0",          "trainer.steps=400"};

/// Of the first report with warnings.
struct Warned : TrainObserver {
  std::int64_t first = -1;
  std::vector<std::string> warnings;
  void on_train(const TrainReport& r) override {
    if (r.warnings.empty() || first >= 0) return;
    first = r.step;
    warnings = r.warnings;
  }
};

TEST(Trainer, AWarningIsReportedAndStopsWhereItIsAskedTo) {
  Config c = small(kRunaway);
  const Task& task = find_task("InvertedPendulum");
  Warned observer;
  Trainer(c, task).run(observer, "");
  ASSERT_GT(observer.first, 0);
  EXPECT_TRUE(observer.warnings.front().starts_with("critic runs away: Q is"))
      << observer.warnings.front();

  c.trainer.on_warning = OnWarning::stop;
  Folder folder;
  Trainer trainer(c, task);
  TrainObserver silent;
  try {
    trainer.run(silent, folder.path);
    FAIL() << "was not stopped";
  } catch (const Error& e) {
    EXPECT_EQ(std::string(e.what()),
              "training stopped at step " + std::to_string(observer.first) +
                  " (trainer.on_warning is stop): " + observer.warnings.front());
  }
  EXPECT_EQ(trainer.step(), observer.first);
  c.trainer.on_warning = OnWarning::go_on;
  Trainer further(c, task);
  std::string kept;
  ASSERT_TRUE(further.resume(folder.path, &kept));
  EXPECT_EQ(further.step(), observer.first);
  further.run(silent, folder.path);
  EXPECT_TRUE(further.finished());
}

TEST(Trainer, AWarningRenewsWhatItNames) {
  Config c = small(kRunaway);
  c.trainer.on_warning = OnWarning::recover;
  const Task& task = find_task("InvertedPendulum");
  Warned observer;
  std::atomic<bool> stop = false;
  struct Stopper : Warned {
    std::atomic<bool>* stop;
    NetWeights before;
    Trainer* trainer;
    void on_train(const TrainReport& r) override {
      Warned::on_train(r);
      if (first == r.step) {
        before = trainer->bundle().critics;
        *stop = true;
      }
    }
  } stopper;
  Folder folder;
  Trainer trainer(c, task);
  stopper.stop = &stop;
  stopper.trainer = &trainer;
  trainer.run(stopper, folder.path, &stop);
  ASSERT_GT(stopper.first, 0);
  ASSERT_EQ(trainer.step(), stopper.first);
  // PyTorch's start values are within 1/sqrt(inputs) of a layer; those that ran away are not
  const auto largest = [](const NetWeights& w) {
    float most = 0;
    for (const float p : w.parameters) most = std::max(most, std::abs(p));
    return most;
  };
  const Bundle after = trainer.bundle();
  EXPECT_LE(largest(after.critics), 1 / std::sqrt(static_cast<float>(after.nx + after.nu)));
  EXPECT_GT(largest(stopper.before), largest(after.critics));
  EXPECT_NE(after.critics.parameters,
            initial_parameters(after.critics.stack, after.critics.spec, c.trainer.seed, kCritics));

  // what follows is the same, and the resumed run knows how young its critic is
  Trainer resumed(c, task);
  std::string kept;
  ASSERT_TRUE(resumed.resume(folder.path, &kept));
  TrainObserver silent;
  resumed.run(silent, "");
  trainer.run(silent, "");
  EXPECT_TRUE(trainer.finished());
  EXPECT_EQ(trainer.state_hash(), resumed.state_hash());
}

TEST(Trainer, AFinishedControllerPlansOtherwiseAfterTheSameTraining) {
  const Task& task = find_task("InvertedPendulum");
  Config c = small({"trainer.eval_interval=60", "trainer.eval_episodes=2"});
  Recorder before;
  Trainer as_trained(c, task);
  as_trained.run(before, "");
  const auto expect_otherwise = [&](const Config& changed) {
    Recorder after;
    Trainer final(changed, task);
    final.run(after, "");
    EXPECT_EQ(as_trained.state_hash(), final.state_hash());
    EXPECT_EQ(final.bundle().planner, final_planner(changed));
    EXPECT_NE(before.lines, after.lines) << "evaluations are played by the planner of the bundle";
  };
  Config quiet = c, longer = c;
  quiet.trainer.final_noise = 0.04;
  expect_otherwise(quiet);
  longer.trainer.final_iterations = 3;
  expect_otherwise(longer);
}

/// lq without bounds.
class Unbounded final : public Task {
 public:
  TaskSpec spec(const TaskOptions& options) const override {
    TaskSpec spec = lq_.spec(options);
    spec.action_low.assign(spec.nu, -INFINITY);
    spec.action_high.assign(spec.nu, INFINITY);
    return spec;
  }
  std::unique_ptr<Environment> make_environment(const TaskOptions& options) const override {
    return lq_.make_environment(options);
  }
  std::unique_ptr<RewardModel> make_reward(const TaskOptions& options) const override {
    return lq_.make_reward(options);
  }
  std::unique_ptr<DynamicsModel> make_dynamics(const TaskOptions& options) const override {
    return lq_.make_dynamics(options);
  }

 private:
  const Task& lq_ = find_task("lq");
};

TEST(Agent, RandomStepsNeedABox) {
  const Unbounded task;
  EXPECT_NO_THROW(Trainer(small(), task));
  try {
    Trainer(small({"trainer.random_steps=5"}), task);
    FAIL() << "was not refused";
  } catch (const UsageError& e) {
    EXPECT_EQ(std::string(e.what()),
              "trainer.random_steps: 5 needs bounds of every action, and action 0 of lq has none; "
              "use 0");
  }
}

TEST(Agent, TheFirstStepsAreRandomWhereAskedFor) {
  const Task& task = find_task("Hopper");
  ThreadPool pool(1);
  const Config random = small({"trainer.envs=2", "trainer.random_steps=4"});
  const auto agent = make_agent(random, task, pool),
             other = make_agent(small({"trainer.envs=2"}), task, pool);
  const TaskSpec spec = task.spec({});
  const std::vector<float> x(2 * spec.nx, 0.1f);
  for (std::int64_t step = 0; step < 8; step += 2) {
    SCOPED_TRACE("step " + std::to_string(step));
    const auto actions = agent->act(x, step), planned = other->act(x, step);
    for (std::size_t j = 0; j < actions.size(); ++j) {
      const float drawn = hd::random_action(random.trainer.seed, step + j / spec.nu,
                                            static_cast<int>(j % spec.nu), -1, 1);
      EXPECT_EQ(actions[j], step < 4 ? drawn : planned[j]);
    }
    for (int e = 0; e < 2; ++e)
      agent->store(e, std::span(x).first(spec.nx), std::span(x).first(spec.nx), 0, false);
    const auto record = agent->replay().record(step + 1);
    EXPECT_TRUE(std::ranges::equal(record.subspan(spec.nx, spec.nu), actions.subspan(spec.nu)));
  }
}

/// Keeps every episode.
struct Listener : TrainObserver {
  std::vector<EpisodeEnd> episodes;
  void on_episode(const EpisodeEnd& e) override { episodes.push_back(e); }
};

// Every environment's steps count, and the result does not depend on threads.
TEST(Trainer, SeveralEnvironmentsAreDeterministic) {
  std::uint64_t hash = 0;
  for (int threads : {1, 2, 3}) {
    Config c = small({"trainer.steps=402", "trainer.envs=3", "environment.time_limit=50"});
    c.trainer.threads = threads;
    Listener listener;
    Trainer trainer(c, find_task("InvertedPendulum"));
    trainer.run(listener, "");
    EXPECT_EQ(trainer.step(), 402);
    std::int64_t last = 0;
    for (const EpisodeEnd& e : listener.episodes) {
      EXPECT_GT(e.step, last);
      EXPECT_LE(e.step, 402);
      last = e.step;
    }
    EXPECT_GE(listener.episodes.size(), 402u / 50);
    if (threads == 1) hash = trainer.state_hash();
    EXPECT_EQ(trainer.state_hash(), hash) << threads << " threads";
  }
}

TEST(Trainer, PrecisionAutoIsResolvedOnce) {
  const Trainer trainer(small({"planner.precision=auto"}), find_task("InvertedPendulum"));
  EXPECT_NE(trainer.bundle().planner.precision, Precision::automatic);
}

TEST(Trainer, TrainsInBfloat16) {
  std::uint64_t hash[2];
  for (int i = 0; i < 2; ++i) {
    Config c = small({"trainer.steps=200", "planner.precision=bfloat16"});
    c.trainer.threads = 1 + i;
    TrainObserver observer;
    Trainer trainer(c, find_task("Hopper"));
    trainer.run(observer, "");
    hash[i] = trainer.state_hash();
  }
  EXPECT_EQ(hash[0], hash[1]);
}

TEST(Trainer, LearnsTheInvertedPendulumABit) {
  // real learning, short: an untrained planner holds the pole for 5-30 steps
  const Config c =
      small({"trainer.steps=6000", "model.width=64", "critic.width=64", "planner.rollouts=64",
             "targets.rollouts=16", "model.learning_rate=0.001", "critic.learning_rate=0.001"});
  struct Best : TrainObserver {
    double best = 0;
    void on_episode(const EpisodeEnd& e) override { best = std::max(best, e.episode_return); }
  } best;
  Trainer trainer(c, find_task("InvertedPendulum"));
  trainer.run(best, "");
  EXPECT_GT(best.best, 100);
}

}  // namespace
}  // namespace softmpc
