// SPDX-License-Identifier: Apache-2.0
// Several seeds side by side, each a process of its own.
#include "train/train_seeds.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "io/folder_lock.h"
#include "program/child_process.h"
#include "program/command.h"
#include "program/console.h"
#include "program/statistics.h"
#include "program/stop_signal.h"
#include "softmpc/bundle.h"
#include "softmpc/error.h"
#include "train/metrics_tail.h"
#include "train/train_progress.h"

namespace softmpc::tools {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kPoll{200};
constexpr std::chrono::seconds kLineEvery{30};

enum class State { waiting, running, done, finished_before, stopped, failed };

const char* name_of(State state) {
  switch (state) {
    case State::waiting:
      return "not started";
    case State::running:
      return "running";
    case State::done:
      return "done";
    case State::finished_before:
      return "done before";
    case State::stopped:
      return "stopped";
    case State::failed:
      return "failed";
  }
  return "?";
}

struct SeedRun {
  SeedRun(std::uint64_t number, TrainRequest resolved)
      : seed(number), request(std::move(resolved)), metrics(request.out + "/metrics.jsonl") {}

  std::uint64_t seed;
  TrainRequest request;
  MetricsTail metrics;
  State state = State::waiting;
  pid_t child = 0;
  int exit_code = 0;
  std::int64_t steps = 0;  ///< of its checkpoint, once it is not running
  double seconds = 0;
  Clock::time_point start;
  std::string log;  ///< where the output goes now
};

int core_count() { return std::max(1, static_cast<int>(std::thread::hardware_concurrency())); }

/// Where a run stands, as its bundle has it: written with every checkpoint.
struct Standing {
  std::int64_t step = 0;
  bool finished = true;  ///< with all that belongs to the step
};
Standing standing(const TrainRequest& request) {
  const std::string path = request.out + "/model.safetensors";
  std::error_code fault;
  if (!fs::exists(path, fault)) return {};
  try {
    const Json provenance = Json::parse(load_bundle(path).provenance);
    return {provenance.at("step").get<std::int64_t>(), provenance.value("finished", true)};
  } catch (const std::exception&) {
    return {};  // the child that resumes will say what is wrong with it
  }
}

/// True if the run's bundle holds the last step that was asked for.
bool is_finished(const TrainRequest& request) {
  if (!request.resume) return false;
  const Standing now = standing(request);
  return now.finished && now.step >= request.config.trainer.steps;
}

// Ctrl-Z stops the seeds, which are in process groups of their own, and then this process.
std::atomic<bool> suspended{false};

void catch_suspension() {
  struct sigaction action {};
  sigaction(SIGTSTP, nullptr, &action);
  if (action.sa_handler == SIG_IGN) return;
  action.sa_handler = [](int) { suspended = true; };
  action.sa_flags = SA_RESTART;
  sigaction(SIGTSTP, &action, nullptr);
}

class SeedRunner {
 public:
  explicit SeedRunner(const TrainOptions& options);
  int run();

 private:
  TrainOptions child_options(std::uint64_t seed) const;
  std::vector<std::string> child_arguments(const SeedRun& run) const;
  void start(SeedRun& run);
  void poll(SeedRun& run);
  void end(SeedRun& run, int exit_code);
  void forward_signals();
  void suspend() const;
  void signal_children(int number) const;
  void show();
  std::string status() const;
  std::size_t count(State state) const;
  Json summary() const;
  std::string summary_table() const;
  void raise_failure() const;

  TrainOptions options_;
  std::string out_;
  std::optional<FolderLock> lock_;
  int jobs_ = 1;
  std::vector<SeedRun> runs_;
  StatusLine line_;
  int forwarded_ = 0;
  Clock::time_point start_ = Clock::now(), last_line_ = Clock::now();
};

SeedRunner::SeedRunner(const TrainOptions& options) : options_(options), out_(out_folder(options)) {
  const SeedRange range = read_seeds(options.seeds);
  std::error_code fault;
  if (fs::is_directory(out_, fault)) lock_.emplace(out_, "trained");
  const auto most = static_cast<std::int64_t>(range.count());
  jobs_ = static_cast<int>(options.jobs.empty() ? std::min<std::int64_t>(most, core_count())
                                                : whole_number("--jobs", options.jobs, 1, 1024));
  for (std::uint64_t seed = range.first; seed <= range.last; ++seed) {
    runs_.emplace_back(seed, resolve(child_options(seed)));
    // measured once for all seeds that begin now
    Config& config = runs_.back().request.config;
    if (!options.resume) config.planner.precision = runs_.front().request.config.planner.precision;
    if (!options.resume && fs::exists(runs_.back().request.out, fault)) {
      throw UsageError("--out: " + runs_.back().request.out +
                       " exists; --resume continues it, or name another folder");
    }
  }
  check_request(runs_.front().request);  // what no seed can use is refused once
  fs::create_directories(out_, fault);
  if (fault) throw Error(out_ + ": cannot create: " + fault.message());
  if (!lock_) lock_.emplace(out_, "trained");
}

TrainOptions SeedRunner::child_options(std::uint64_t seed) const {
  TrainOptions child = options_;
  child.seeds.clear();
  child.jobs.clear();
  child.seed = std::to_string(seed);
  child.out = (fs::path(out_) / ("seed-" + child.seed)).string();
  if (child.threads.empty()) child.threads = std::to_string(std::max(1, core_count() / jobs_));
  return child;
}

std::vector<std::string> SeedRunner::child_arguments(const SeedRun& run) const {
  const TrainOptions child = child_options(run.seed);
  std::vector<std::string> arguments = {"train",   child.task,  "--seed",      child.seed, "--out",
                                        child.out, "--threads", child.threads, "--quiet"};
  const auto add = [&](const char* option, const std::string& value) {
    if (!value.empty()) arguments.insert(arguments.end(), {option, value});
  };
  add("--preset", child.preset);
  add("--steps", child.steps);
  add("--envs", child.envs);
  add("--device", child.device);
  for (const std::string& setting : child.settings) add("--set", setting);
  add("--set", std::string("planner.precision=") + to_string(run.request.config.planner.precision));
  if (child.resume) arguments.emplace_back("--resume");
  return arguments;
}

void SeedRunner::start(SeedRun& run) {
  std::error_code fault;
  // the run folder is the child's to create: until it stands, the log lies beside it
  const bool exists = fs::is_directory(run.request.out, fault);
  run.log = exists ? run.request.out + "/log.txt" : run.request.out + ".log";
  if (exists) run.metrics.update();
  run.child = start_child(child_arguments(run), run.log);
  run.state = State::running;
  run.start = Clock::now();
  if (!options_.quiet && !options_.json && !out_is_terminal()) {
    show_out(text("seed %llu: started\n", static_cast<unsigned long long>(run.seed)));
  }
}

/// Takes in what happened to one running child.
void SeedRunner::poll(SeedRun& run) {
  if (run.state != State::running) return;
  const std::optional<int> ended = poll_child(run.child);
  const std::string inside = run.request.out + "/log.txt";
  std::error_code fault;
  if (run.log != inside && fs::is_directory(run.request.out, fault)) {
    fs::rename(run.log, inside, fault);  // the child's open file moves along
    if (!fault) run.log = inside;
  }
  run.metrics.update();
  if (ended) end(run, *ended);
}

void SeedRunner::end(SeedRun& run, int exit_code) {
  run.exit_code = exit_code;
  run.steps = standing(run.request).step;
  run.seconds = std::chrono::duration<double>(Clock::now() - run.start).count();
  const bool by_signal =
      exit_code == 128 + SIGINT || exit_code == 128 + SIGTERM || exit_code == 128 + SIGHUP;
  run.state = exit_code == 0                ? State::done
              : by_signal && forwarded_ > 0 ? State::stopped
                                            : State::failed;
  if (!options_.quiet && !options_.json && !out_is_terminal()) {
    show_out(text("seed %llu: %s at step %lld after %s\n",
                  static_cast<unsigned long long>(run.seed), name_of(run.state),
                  static_cast<long long>(run.steps), duration(run.seconds).c_str()));
  }
}

void SeedRunner::forward_signals() {
  // the first Ctrl-C lets the children stop cleanly, the second kills them
  while (forwarded_ < std::min(stop_count(), 2)) {
    const int signal = ++forwarded_ == 1 ? stop_signal_number() : SIGKILL;
    signal_children(signal);
  }
}

void SeedRunner::signal_children(int number) const {
  for (const SeedRun& run : runs_) {
    if (run.state == State::running) ::kill(run.child, number);
  }
}

void SeedRunner::suspend() const {
  if (!suspended.exchange(false)) return;
  signal_children(SIGSTOP);
  ::raise(SIGSTOP);  // until SIGCONT
  signal_children(SIGCONT);
}

std::size_t SeedRunner::count(State state) const {
  return static_cast<std::size_t>(std::count_if(
      runs_.begin(), runs_.end(), [&](const SeedRun& r) { return r.state == state; }));
}

std::string SeedRunner::status() const {
  double share = 0, begun = 0;
  std::string returns;
  for (const SeedRun& run : runs_) {
    const bool complete = run.state == State::done || run.state == State::finished_before;
    const double part = complete ? 1
                                 : static_cast<double>(run.metrics.step()) /
                                       static_cast<double>(run.request.config.trainer.steps);
    share += part / static_cast<double>(runs_.size());
    if (run.state == State::finished_before) begun += 1.0 / static_cast<double>(runs_.size());
    const std::vector<double> last = run.metrics.last_returns();
    if (run.state == State::running && !last.empty()) {
      returns += text("  seed %llu: %.1f", static_cast<unsigned long long>(run.seed), mean(last));
    }
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
  const double left = share > begun ? seconds * (1 - share) / (share - begun) : INFINITY;
  const std::string line =
      text("%3.0f %%  %zu done, %zu running, %zu waiting  left %s", 100 * share,
           count(State::done) + count(State::finished_before), count(State::running),
           count(State::waiting), duration(left).c_str()) +
      returns;
  return progress_bar(share, line) + line;
}

void SeedRunner::show() {
  if (options_.quiet || options_.json) return;
  const auto now = Clock::now();
  if (out_is_terminal()) {
    line_.show(status());
  } else if (now - last_line_ >= kLineEvery) {
    last_line_ = now;
    show_out(status() + '\n');
  }
}

Json SeedRunner::summary() const {
  Json runs = Json::array();
  for (const SeedRun& run : runs_) {
    runs.push_back({{"seed", run.seed},
                    {"status", name_of(run.state)},
                    {"steps", run.steps},
                    {"episodes", run.metrics.episodes()},
                    {"median_return", median(run.metrics.last_returns())},
                    {"seconds", run.seconds},
                    {"out", run.request.out}});
  }
  return {{"task", options_.task}, {"out", out_}, {"runs", runs}};
}

std::string SeedRunner::summary_table() const {
  std::vector<std::vector<std::string>> rows = {
      {"seed", "state", "steps", "median return of the last 10 episodes", "time"}};
  std::vector<double> medians;
  for (const SeedRun& run : runs_) {
    const std::vector<double> last = run.metrics.last_returns();
    if (!last.empty()) medians.push_back(median(last));
    rows.push_back({std::to_string(run.seed), name_of(run.state), std::to_string(run.steps),
                    last.empty() ? "-" : text("%.1f", medians.back()),
                    run.seconds > 0 ? duration(run.seconds) : "-"});
  }
  return table(rows) + (medians.empty() ? "" : text("median over seeds: %.1f\n", median(medians)));
}

void SeedRunner::raise_failure() const {
  for (const SeedRun& run : runs_) {
    if (run.state != State::failed) continue;
    std::string cause = last_line(run.log);
    if (cause.starts_with("softmpc: error: ")) cause = cause.substr(16);
    if (run.exit_code > 128) cause = text("killed by signal %d", run.exit_code - 128);
    throw Error(
        text("seed %llu failed (%zu of %zu did): ", static_cast<unsigned long long>(run.seed),
             count(State::failed), runs_.size()) +
        cause + "; its log is " + run.log);
  }
}

int SeedRunner::run() {
  for (SeedRun& run : runs_) {
    if (!is_finished(run.request)) continue;
    run.state = State::finished_before;
    run.steps = standing(run.request).step;
    run.metrics.update();
  }
  ::setenv("OMP_NUM_THREADS", "1", 1);  // for the children: their threads are softmpc's own
  while (true) {
    for (SeedRun& run : runs_) poll(run);
    for (SeedRun& run : runs_) {
      const bool free = static_cast<int>(count(State::running)) < jobs_;
      if (run.state == State::waiting && free && !stop_requested()) start(run);
    }
    forward_signals();
    suspend();
    show();
    if (count(State::running) == 0 && (count(State::waiting) == 0 || stop_requested())) break;
    std::this_thread::sleep_for(kPoll);
  }
  line_.finish();
  const bool stopped = stop_requested() && count(State::stopped) + count(State::waiting) > 0;
  Json result = summary();
  if (stopped) result["resume"] = resume_command(options_);
  write_out(options_.json ? result.dump() + '\n' : summary_table());
  if (stopped && !options_.json) {
    write_out("stopped; go on with: " + resume_command(options_) + '\n');
  }
  report_silence();
  if (stop_count() < 2) raise_failure();
  return stopped || stop_count() > 1 ? 128 + stop_signal_number() : 0;
}

}  // namespace

int train_seeds(const TrainOptions& options) {
  SeedRunner runner(options);
  catch_stop_signals(3);  // the second is forwarded too
  catch_suspension();
  return runner.run();
}

}  // namespace softmpc::tools
