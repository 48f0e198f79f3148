// SPDX-License-Identifier: Apache-2.0
// softmpc bench scaling: time of a plan against one size at a time.
#include <memory>

#include "bench/bench.h"
#include "bench/bench_problem.h"
#include "program/console.h"
#include "softmpc/error.h"

namespace softmpc::tools {
namespace {

constexpr double kSeconds = 1;

struct ScalingOptions : BenchOptions {
  std::string sweeps = "rollouts,horizon,width,members,problems,threads";
};

/// One size that is varied from a case's own.
struct Sweep {
  const char* name;
  int PlanCase::*field;
  std::vector<int> values;
};

const std::vector<Sweep>& size_sweeps() {
  static const std::vector<Sweep> list = {
      {"rollouts", &PlanCase::rollouts, {16, 64, 256, 1024, 4096, 16384}},
      {"horizon", &PlanCase::horizon, {1, 2, 4, 8, 16, 32, 64}},
      {"width", &PlanCase::width, {32, 64, 128, 256, 512}},
      {"members", &PlanCase::members, {1, 2, 4, 8, 16}},
      {"problems", &PlanCase::problems, {1, 4, 16, 64, 256, 1024}},
  };
  return list;
}

/// One point: the case alone, with its own rounds of the plain product.
Json measure_point(const PlanCase& c, Precision precision, ThreadPool& pool, Yardstick& yardstick,
                   const Budget& budget) {
  PlanProblem problem(c, precision, pool);
  const Timed timed = problem.timed();
  const Timing timing = time_cases({timed}, &yardstick, budget).front();
  problem.check();
  Json result;
  add_timing(result, timed, timing, &yardstick);
  return result;
}

std::vector<int> thread_counts(int most) {
  std::vector<int> counts;
  for (int n = 1; n < most; n *= 2) counts.push_back(n);
  counts.push_back(most);
  return counts;
}

Json sweep_threads(Precision precision, int most, const Budget& budget) {
  Json points = Json::array();
  for (const char* name : {"a", "c", "d"}) {
    for (const int threads : thread_counts(most)) {
      ThreadPool pool(threads);
      Yardstick yardstick(pool, precision);
      Json point = {{"case", name}, {"value", threads}};
      point.update(measure_point(named_case(name), precision, pool, yardstick, budget));
      points.push_back(std::move(point));
    }
  }
  return points;
}

std::string as_text(const Json& result) {
  std::string all;
  for (const auto& [name, points] : result["sweeps"].items()) {
    std::vector<std::vector<std::string>> rows = {
        {name, "case", "p50", "p99", "evals/s", "GFLOP/s", "share"}};
    for (const Json& point : points) {
      rows.push_back({point["value"].dump(), point["case"],
                      time_text(point["time_us"]["p50"].get<double>()),
                      time_text(point["time_us"]["p99"].get<double>()),
                      text("%.3g", point["evals_per_second"].get<double>()),
                      text("%.1f", point["gflops"].get<double>()),
                      text("%.2f", point["share"].get<double>())});
    }
    all += table(rows) + '\n';
  }
  return all + text(
                   "%s; p50 and p99: latency of one plan; rates: all plans in their total "
                   "time; share: of a plain matrix product on the same threads\n",
                   result["precision"].get<std::string>().c_str());
}

const Sweep* find_sweep(const std::string& name) {
  for (const Sweep& sweep : size_sweeps()) {
    if (name == sweep.name) return &sweep;
  }
  if (name == "threads") return nullptr;
  throw UsageError("--sweep: '" + name +
                   "' must be one of rollouts, horizon, width, members, problems, threads");
}

Json sweep_size(const Sweep& sweep, Precision precision, ThreadPool& pool, Yardstick& yardstick,
                const Budget& budget) {
  Json points = Json::array();
  for (const int value : sweep.values) {
    PlanCase c = named_case("a");
    c.*sweep.field = value;
    Json point = {{"case", c.name}, {"value", value}};
    point.update(measure_point(c, precision, pool, yardstick, budget));
    points.push_back(std::move(point));
  }
  return points;
}

int run_scaling(const ScalingOptions& options) {
  const Device device =
      resolve_cpu(options.device,
                  "bench scaling is for the CPU; a device's sizes are those of softmpc bench "
                  "plan --device cuda --rollouts K --horizon H ...");
  const Budget budget = options.budget(kSeconds);
  const std::vector<std::string> names = comma_words(options.sweeps);
  for (const std::string& name : names) find_sweep(name);
  ThreadPool pool(options.thread_count());
  const Precision precision =
      resolve_precision(chosen_precision(options.precision, device, Precision::float32),
                        random_nets(named_case("a")).members.spec);
  Yardstick yardstick(pool, precision);
  Json sweeps = Json::object();
  for (const std::string& name : names) {
    const Sweep* sweep = find_sweep(name);
    sweeps[name] = sweep ? sweep_size(*sweep, precision, pool, yardstick, budget)
                         : sweep_threads(precision, pool.threads(), budget);
  }
  if (yardstick.rate() == 0) yardstick.measure();  // only threads were asked for
  const Json result = {{"device", device},
                       {"precision", to_string(precision)},
                       {"threads", pool.threads()},
                       {"matrix", yardstick.as_json()},
                       {"sweeps", sweeps}};
  write_result(options.json, result, as_text);
  return 0;
}

}  // namespace

Run add_bench_scaling(CLI::App& app) {
  auto options = std::make_shared<ScalingOptions>();
  add_text(app, "--sweep", options->sweeps, "NAMES", "which, all if not given: " + options->sweeps);
  add_text(app, "--precision", options->precision, "P",
           "float32 (if not given), bfloat16 or auto, the faster one here");
  options->add_device(app);
  options->add_threads(app);
  options->add_budget(app, text("%g", kSeconds));
  options->add_json(app);
  app.footer(
      "Varies one size at a time from case a of softmpc bench plan (1 problem, 200 rollouts, "
      "horizon 4):\nrollouts, horizon, width, members, problems and threads; threads also of cases "
      "c and d. About a minute\nwith the default time for each point. Fields are those of softmpc "
      "bench plan.");
  return [options] { return run_scaling(*options); };
}

}  // namespace softmpc::tools
