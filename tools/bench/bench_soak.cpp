// SPDX-License-Identifier: Apache-2.0
// softmpc bench soak: a controller in a loop of fixed rate, against the wall clock, and a robot
// that does not wait for it: how long plans take, which came late, and whether the machine or the
// controller is the reason.
#include <sys/resource.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

#include "bench/bench.h"
#include "bench/fine_task.h"
#include "bench/robot_process.h"
#include "bench/swapping.h"
#include "program/console.h"
#include "softmpc/error.h"

namespace softmpc::tools {
namespace {

struct SoakOptions : BenchOptions {
  std::string run, ticks = "20000", budget_share = "0.8", seed = "1000", swaps = "0", black_box;
};

std::int64_t cpu_now() { return now_of(CLOCK_THREAD_CPUTIME_ID); }

rusage usage() {
  rusage u = {};
  getrusage(RUSAGE_THREAD, &u);
  return u;
}

double us(std::int64_t ns) { return static_cast<double>(ns) * 1e-3; }

/// Percentiles of times in us.
Json summary(std::vector<double> times) {
  std::ranges::sort(times);
  return time_us({.us = std::move(times)});
}

/// A loop that does nothing: how late the machine wakes it.
Json empty_loop(std::int64_t period, int ticks) {
  std::vector<double> late;
  std::int64_t next = monotonic_now() + period;
  for (int i = 0; i < ticks; ++i, next += period) {
    sleep_until(next);
    late.push_back(us(monotonic_now() - next));
    next = std::max(next, monotonic_now() - period);
  }
  return summary(std::move(late));
}

struct Soak {
  std::vector<double> wall, cpu, late, swapped;  // us; swapped: wall, of the ticks with a swap
  double rollouts = 0;                           // of all plans
  int missed = 0, explained = 0;
  std::uint64_t falls = 0, robot_steps = 0;
  int refused = 0, bad_taken = 0;
  std::int64_t faults = 0, switches = 0;
  std::int64_t cpu_past_due = 0;  // ns, the most
  Statistics statistics;
  std::string notes;
};

/// One tick: from `next` on a plan of what the robot last showed, due after `budget`.
void tick(Controller& controller, RobotProcess& robot, std::span<const float> x,
          const RobotProcess::Seen& seen, std::int64_t next, std::int64_t period,
          std::int64_t budget, Soak& s) {
  const rusage start = usage();
  const std::int64_t begin = monotonic_now(), cpu = cpu_now(), due = next + budget;
  const Plan& plan =
      controller.plan({.observation = x,
                       .state_time = Nanoseconds(seen.time),
                       .deadline = SolveBudget::Clock::time_point(Nanoseconds(due))});
  const std::int64_t end = monotonic_now(), spent = cpu_now() - cpu;
  robot.command(seen.episode, plan.action);
  s.wall.push_back(us(end - begin));
  s.cpu.push_back(us(spent));
  s.late.push_back(us(begin - next));
  s.rollouts += plan.rollouts_used;
  s.cpu_past_due = std::max(s.cpu_past_due, begin + spent - std::max(due, begin));
  if (end <= due) return;
  ++s.missed;
  s.explained += usage().ru_nivcsw != start.ru_nivcsw || begin - next > period - budget;
}

/// The robot's ticks are simulator steps; the controller's come a quarter of one behind.
Soak soak(FineTask& task, RobotProcess& robot, Controller& controller, int ticks, double share,
          int swaps) {
  Soak s;
  for (auto* times : {&s.wall, &s.cpu, &s.late, &s.swapped}) times->reserve(ticks);
  std::vector<float> x = task.observed();
  const std::int64_t period = task.at(1).count();
  const auto budget = static_cast<std::int64_t>(share * static_cast<double>(period));
  robot.start();
  RobotProcess::Seen seen;
  while (seen.episode == 0) seen = robot.observe(x);
  std::optional<Swapping> swapping;
  if (swaps > 0) swapping.emplace(controller, task.bundle, swaps, period * ticks / (swaps + 1));
  const rusage before = usage();
  std::int64_t next = seen.time + period + period / 4;
  for (int i = 0; i < ticks; ++i) {
    sleep_until(next);
    const bool swapped = swapping && swapping->swap(controller);
    const std::uint64_t episode = seen.episode;
    seen = robot.observe(x);
    if (seen.episode != episode) controller.reset();
    tick(controller, robot, x, seen, next, period, budget, s);
    if (swapped) s.swapped.push_back(s.wall.back());
    next += period;
    // whole ticks that were slept through are no plans
    if (const std::int64_t behind = monotonic_now() - next; behind > 0)
      next += (behind + period - 1) / period * period;
  }
  const rusage after = usage();
  s.faults = after.ru_minflt + after.ru_majflt - before.ru_minflt - before.ru_majflt;
  s.switches = after.ru_nivcsw - before.ru_nivcsw;
  s.falls = robot.falls();
  s.robot_steps = robot.steps();
  s.notes = controller.notes();
  if (swapping) {
    if (const std::string trouble = swapping->finish(); !trouble.empty()) s.notes += trouble + "\n";
    s.refused = swapping->refused();
    s.bad_taken = swapping->bad_taken();
  }
  s.statistics = controller.statistics();
  return s;
}

Json as_json(const Soak& s) {
  Json statuses = Json::object();
  for (int k = 0; k < kPlanStatuses; ++k) {
    const auto status = static_cast<PlanStatus>(k);
    if (s.statistics.of(status) > 0) statuses[to_string(status)] = s.statistics.of(status);
  }
  return {{"wall_us", summary(s.wall)},
          {"cpu_us", summary(s.cpu)},
          {"woken_late_us", summary(s.late)},
          {"first_us", s.wall.front()},
          {"missed", s.missed},
          {"missed_with_the_machine_late", s.explained},
          {"cpu_us_past_deadline", us(s.cpu_past_due)},
          {"page_faults", s.faults},
          {"involuntary_switches", s.switches},
          {"statuses", std::move(statuses)},
          {"rollouts", s.rollouts / static_cast<double>(s.wall.size())},
          {"fallbacks", s.statistics.fallbacks},
          {"falls", s.falls},
          {"robot_steps", s.robot_steps},
          {"swaps", s.statistics.swaps},
          {"bad_nets_refused", s.refused},
          {"bad_nets_taken", s.bad_taken},
          {"swap_wall_us", s.swapped.empty() ? Json(nullptr) : summary(s.swapped)},
          {"notes", s.notes}};
}

std::string as_text(const Json& result) {
  std::vector<std::vector<std::string>> rows = {{"us", "p50", "p90", "p99", "p99.9", "max"}};
  const auto add = [&](const char* name, const Json& times) {
    rows.push_back({name});
    for (const char* key : {"p50", "p90", "p99", "p999", "max"})
      rows.back().push_back(text("%.1f", times[key].get<double>()));
  };
  add("plan, wall", result["wall_us"]);
  add("plan, CPU", result["cpu_us"]);
  if (!result["swap_wall_us"].is_null()) add("plan after a swap", result["swap_wall_us"]);
  add("woken late", result["woken_late_us"]);
  add("empty loop before", result["empty_before_us"]);
  add("empty loop after", result["empty_after_us"]);
  return table(rows) +
         text("\n%s, %d ticks of %g ms, %g ms for a plan, %d threads\n",
              result["task"].get<std::string>().c_str(), result["ticks"].get<int>(),
              result["period_ms"].get<double>(), result["budget_ms"].get<double>(),
              result["threads"].get<int>()) +
         text(
             "late: %d, of these %d where the machine was (switched away, or woken late); CPU time "
             "past a deadline: at most %.1f us\n",
             result["missed"].get<int>(), result["missed_with_the_machine_late"].get<int>(),
             result["cpu_us_past_deadline"].get<double>()) +
         text("the first plan: %.1f us\n", result["first_us"].get<double>()) +
         text("rollouts used: %.1f of %d in the last iteration, on average\n",
              result["rollouts"].get<double>(), result["all_rollouts"].get<int>()) +
         text("page faults %d, involuntary switches %d, fallbacks %d, falls %d; statuses %s\n",
              result["page_faults"].get<int>(), result["involuntary_switches"].get<int>(),
              result["fallbacks"].get<int>(), result["falls"].get<int>(),
              result["statuses"].dump().c_str()) +
         text(
             "the robot, a process of its own, made %d steps; nets swapped %d, bad ones refused "
             "%d, taken %d\n",
             result["robot_steps"].get<int>(), result["swaps"].get<int>(),
             result["bad_nets_refused"].get<int>(), result["bad_nets_taken"].get<int>()) +
         result["notes"].get<std::string>();
}

int run_soak(const SoakOptions& options) {
  const int ticks = static_cast<int>(whole_number("--ticks", options.ticks, 10, 100'000'000));
  const double share = positive_number("--budget", options.budget_share, 1);
  const std::uint64_t seed = seed_number("--seed", options.seed);
  const int swaps =
      options.swaps == "0" ? 0 : static_cast<int>(whole_number("--swaps", options.swaps, 1, ticks));
  const int threads = options.threads.empty() ? 1 : options.thread_count();
  ControllerOptions wanted = {.seed = seed, .threads = threads};
  wanted.black_box = options.black_box;
  FineTask task(bundle_path(options.run));
  const std::int64_t period = task.at(1).count();
  RobotProcess robot(task, period, seed);
  Controller controller = task.make_controller(wanted);
  const int idle = std::min(ticks, 2000);
  Json result = {{"task", task.bundle.task},
                 {"ticks", ticks},
                 {"threads", threads},
                 {"all_rollouts", task.bundle.planner.rollouts},
                 {"period_ms", static_cast<double>(period) * 1e-6},
                 {"budget_ms", share * static_cast<double>(period) * 1e-6},
                 {"empty_before_us", empty_loop(period, idle)}};
  result.update(as_json(soak(task, robot, controller, ticks, share, swaps)));
  result["empty_after_us"] = empty_loop(period, idle);
  write_result(options.json, result, as_text);
  return 0;
}

}  // namespace

Run add_bench_soak(CLI::App& app) {
  auto options = std::make_shared<SoakOptions>();
  add_text(app, "RUN", options->run, "", "a run folder, or a bundle (model.safetensors)")
      ->required();
  add_text(app, "--ticks", options->ticks, "N", "ticks, 20000 if not given");
  add_text(app, "--budget", options->budget_share, "S",
           "share of a tick until the plan is due, 0.8 if not given");
  add_text(app, "--seed", options->seed, "S", "seed of the start states, 1000 if not given");
  add_text(app, "--threads", options->threads, "N", "threads, 1 if not given; 0: all cores");
  add_text(app, "--swaps", options->swaps, "N",
           "nets swapped on the way, each after bad ones that must be refused; 0 if not given");
  add_text(app, "--black-box", options->black_box, "FILE[:MiB]",
           "where all plans are recorded, for softmpc verify and explain");
  options->add_json(app);
  app.footer(
      "The robot is a process of its own, whose simulator steps in real time (Hopper: 2 ms) under\n"
      "the latest command. The controller plans once a step, with the clock's times, and starts\n"
      "nothing that would end after its deadline. No real-time kernel is assumed: an empty loop "
      "of\n"
      "the same rate, before and after, says what the machine itself does.\n\n"
      "Example: softmpc bench soak runs/Hopper-default-seed1 --ticks 100000");
  return [options] { return run_soak(*options); };
}

}  // namespace softmpc::tools
