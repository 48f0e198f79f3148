// SPDX-License-Identifier: Apache-2.0
// softmpc bench loop: the return of a controller whose loop is not as regular as its training: late
// and missed ticks, and commands that act later; with and without telling the controller.
#include <algorithm>
#include <cmath>
#include <deque>
#include <memory>
#include <random>

#include "bench/bench.h"
#include "bench/fine_task.h"
#include "program/console.h"
#include "program/statistics.h"
#include "softmpc/controller.h"
#include "softmpc/error.h"

namespace softmpc::tools {
namespace {

struct LoopOptions : BenchOptions {
  std::string run, episodes = "10", seed = "1000", jitter = "0.4", missed = "0.1", delays = "1,2";
};

/// A kind of loop, and what the controller is told of it.
struct LoopCase {
  std::string name, told;
  double jitter = 0, missed = 0;
  int delay = 0;  // model steps
  bool times = false, compensates = false;
  Reading reading = Reading::linear;
};

std::vector<LoopCase> cases_of(double jitter, double missed, const std::vector<int>& delays) {
  const std::string irregular = text("ticks +-%g %%, %g %% missed", 100 * jitter, 100 * missed);
  std::vector<LoopCase> cases = {
      {"steady", "nothing"},
      {irregular, "nothing", jitter, missed},
      {irregular, "times, linear", jitter, missed, 0, true},
      {irregular, "times, hold", jitter, missed, 0, true, false, Reading::hold},
  };
  for (const int delay : delays) {
    const std::string late = "commands " + std::to_string(delay) + " steps late";
    cases.push_back({late, "nothing", 0, 0, delay});
    cases.push_back({late, "the delay", 0, 0, delay, true, true});
  }
  return cases;
}

struct Played {
  std::vector<double> returns;
  int falls = 0;
  Statistics statistics;
};

int tick_length(const LoopCase& c, int substeps, std::mt19937_64& draw) {
  const int shortest = std::max(1, static_cast<int>(std::ceil(substeps * (1 - c.jitter) - 1e-9)));
  std::uniform_int_distribution<int> length(shortest, 2 * substeps - shortest);
  std::uniform_real_distribution<> chance(0, 1);
  int steps = length(draw);
  while (chance(draw) < c.missed) steps += length(draw);
  return steps;
}

/// A command, and behind it the rest of its plan where the robot goes on with that, a model step
/// each.
struct Command {
  std::int64_t acts;  // simulator step
  std::vector<std::vector<float>> actions;

  std::span<const float> at(std::int64_t step, int substeps) const {
    const auto k = static_cast<std::size_t>(std::max<std::int64_t>(step - acts, 0) / substeps);
    return actions[std::min(k, actions.size() - 1)];
  }
};

Command command_of(const Plan& plan, const FineTask& task, bool whole_plan) {
  const Bundle& b = task.bundle;
  const auto nu = static_cast<std::size_t>(b.nu);
  Command command = {0, {{plan.action.begin(), plan.action.end()}}};
  for (std::size_t k = nu; whole_plan && k < plan.sequence.size(); k += nu) {
    std::vector<float>& action = command.actions.emplace_back(nu);
    for (std::size_t i = 0; i < nu; ++i)
      action[i] =
          std::clamp(task.rest[i] + plan.sequence[k + i], b.action_low[i], b.action_high[i]);
  }
  return command;
}

/// The return; counts a fall.
double play_episode(const LoopCase& c, FineTask& task, Controller& controller,
                    std::mt19937_64& draw, int& falls) {
  const Nanoseconds begin = std::chrono::seconds(1);
  std::deque<Command> sent = {{0, {task.rest}}};
  double total = 0;
  for (std::int64_t step = 0;;) {
    const std::vector<float> x = task.observed();
    const Plan& plan =
        c.times ? controller.plan({.observation = x, .state_time = begin + task.at(step)})
                : controller.plan(x);
    sent.push_back(command_of(plan, task, c.times));
    sent.back().acts = step + c.delay * task.substeps;
    for (const auto next = step + tick_length(c, task.substeps, draw); step < next; ++step) {
      while (sent.size() > 1 && sent[1].acts <= step) sent.pop_front();
      const Transition t = task.step(sent.front().at(step, task.substeps));
      total += t.reward;
      falls += t.terminated;
      if (t.terminated || t.truncated) return total;
    }
  }
}

Played play(const LoopCase& c, FineTask& task, int episodes, std::uint64_t seed, int threads) {
  ControllerOptions options = {.seed = seed, .threads = threads};
  options.reading = c.reading;
  if (c.compensates) options.command_delay = task.at(c.delay * task.substeps);
  Controller controller = task.make_controller(options);
  Played played;
  for (int episode = 0; episode < episodes; ++episode) {
    if (episode > 0) controller.reset();
    std::mt19937_64 draw(seed + episode);
    task.reset(seed + episode);
    played.returns.push_back(play_episode(c, task, controller, draw, played.falls));
  }
  played.statistics = controller.statistics();
  return played;
}

std::string as_text(const Json& result) {
  std::vector<std::vector<std::string>> rows = {
      {"loop", "the controller knows", "return", "+-", "of steady", "falls"}};
  for (const Json& c : result["cases"])
    rows.push_back({c["loop"], c["told"], text("%.1f", c["mean"].get<double>()),
                    text("%.1f", c["error"].get<double>()),
                    text("%.3f", c["of_steady"].get<double>()), c["falls"].dump()});
  return table(rows) + text("\n%s, %d episodes each; +-: standard error of the mean\n",
                            result["task"].get<std::string>().c_str(),
                            result["episodes"].get<int>());
}

/// A share 0..0.9.
double share(const std::string& option, const std::string& value) {
  return value == "0" ? 0 : positive_number(option, value, 0.9);
}

int run_loop(const LoopOptions& options) {
  const int episodes = static_cast<int>(whole_number("--episodes", options.episodes, 2, 100000));
  const std::uint64_t seed = seed_number("--seed", options.seed);
  const std::vector<LoopCase> cases =
      cases_of(share("--jitter", options.jitter), share("--missed", options.missed),
               whole_numbers("--delays", options.delays, 16));
  const int threads = options.thread_count();
  FineTask task(bundle_path(options.run));
  Json list = Json::array();
  double steady = 0;
  for (const LoopCase& c : cases) {
    const Played played = play(c, task, episodes, seed, threads);
    const double average = mean(played.returns);
    if (list.empty()) steady = average;
    list.push_back({{"loop", c.name},
                    {"told", c.told},
                    {"returns", played.returns},
                    {"mean", average},
                    {"error", standard_deviation(played.returns) / std::sqrt(episodes)},
                    {"of_steady", average / steady},
                    {"falls", played.falls},
                    {"cold_starts", played.statistics.cold_starts}});
  }
  write_result(options.json,
               {{"task", task.bundle.task}, {"episodes", episodes}, {"cases", std::move(list)}},
               as_text);
  return 0;
}

}  // namespace

Run add_bench_loop(CLI::App& app) {
  auto options = std::make_shared<LoopOptions>();
  add_text(app, "RUN", options->run, "", "a run folder, or a bundle (model.safetensors)")
      ->required();
  add_text(app, "--episodes", options->episodes, "N", "episodes of each loop, 10 if not given");
  add_text(app, "--seed", options->seed, "S", "seed of the start states, 1000 if not given");
  add_text(app, "--jitter", options->jitter, "J",
           "a tick takes 1-J to 1+J model steps, 0.4 if not given");
  add_text(app, "--missed", options->missed, "P",
           "share of ticks that do not come, 0.1 if not given");
  add_text(app, "--delays", options->delays, "D,D,..",
           "model steps until a command acts, 1,2 if not given");
  options->add_threads(app);
  options->add_json(app);
  app.footer(
      "Plays the task in steps of its simulator, so that ticks can be early, late and missed and\n"
      "commands can act late. Once the controller is told (PlanRequest::state_time,\n"
      "ControllerOptions::command_delay) and its plan goes on until the next command acts, once "
      "it\n"
      "is not told and the command holds.\n\n"
      "Example: softmpc bench loop runs/Hopper-default-seed1 --episodes 20");
  return [options] { return run_loop(*options); };
}

}  // namespace softmpc::tools
