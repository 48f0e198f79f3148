// SPDX-License-Identifier: Apache-2.0
// softmpc bench plan: time of a plan with random nets of given sizes.
#include <memory>

#include "bench/bench.h"
#include "bench/bench_device.h"
#include "bench/bench_problem.h"
#include "program/console.h"
#include "program/gpu_device.h"
#include "softmpc/error.h"

namespace softmpc::tools {
namespace {

constexpr double kSeconds = 2;

struct PlanBenchOptions : BenchOptions {
  std::string cases, nets, path;
  std::string problems, rollouts, horizon, nx, nu, width, layers, members;
};

constexpr const char* kFooter =
    R"(Cases (problems, rollouts, horizon): a (1, 200, 4), b (32, 20, 4), c (256, 64, 8),
d (1, 8192, 32), e (4096, 64, 8), all with nx 12, nu 3, 4 members, width 256. --problems and the
other sizes change those of the case, which then is called 'custom'.

One problem is timed as in a control loop: shift, then plan. The nets have random weights from a
fixed seed, the settings are those of paper-gaussian. With bfloat16 the dynamics members are
evaluated in it, the critic in float32.

Latency: 'time_us', percentiles of single plans. Throughput, all plans in their total time:
'evals_per_second' counts model steps, B K H a plan, 'values_per_second' terminal values, B K a plan;
'gflops' the nets' work, and 'share' is the median over rounds of this rate by that of the plain
product. 'work' has the counts of one plan.
)";

constexpr const char* kDeviceFooter = R"(
--device cuda: a time is that of the whole call, from inputs in the host's memory to results there,
on eight sets of inputs in turn. 'device_latency_us' is the device's own time, by its events, of one
recorded solve alone, copies included; 'device_us' that of one among others, back to back: median and
quartiles over blocks of replays, whose total time gives 'device_evals_per_second' and so on. No
share: nothing that would bound these products on the device is measured. What is timed is checked:
'agreement' has the differences of the rollouts' S from those of the CPU in float32, with the same
draws, in units of the temperature ('rollouts' of each of 'problems', spread over all of them).
'kernels' counts those that the library carried, those found in the cache, and those compiled now.)";

/// The case that the sizes on the command line make of `base`.
PlanCase resized(const PlanBenchOptions& o, PlanCase base) {
  bool custom = false;
  const auto size = [&](const char* option, const std::string& value, int& field, int high) {
    if (value.empty()) return;
    field = static_cast<int>(whole_number(option, value, 1, high));
    custom = true;
  };
  size("--problems", o.problems, base.problems, 1 << 20);
  size("--rollouts", o.rollouts, base.rollouts, 1 << 20);
  size("--horizon", o.horizon, base.horizon, 1024);
  size("--nx", o.nx, base.nx, 4096);
  size("--nu", o.nu, base.nu, 1024);
  size("--width", o.width, base.width, 8192);
  size("--layers", o.layers, base.layers, 8);
  size("--members", o.members, base.members, 1024);
  if (custom) base.name = "custom";
  return base;
}

std::vector<PlanCase> chosen_cases(const PlanBenchOptions& options) {
  std::vector<PlanCase> cases;
  for (const std::string& name : comma_words(options.cases)) {
    cases.push_back(resized(options, named_case(name)));
  }
  if (cases.front().name == "custom" && cases.size() > 1) {
    throw UsageError("--case: sizes such as --rollouts go with one case, not with several");
  }
  return cases;
}

Json as_json(const PlanCase& c, const std::string& reward) {
  return {{"name", c.name},
          {"problems", c.problems},
          {"rollouts", c.rollouts},
          {"horizon", c.horizon},
          {"nx", c.nx},
          {"nu", c.nu},
          {"members", c.members},
          {"width", c.width},
          {"layers", c.layers},
          {"reward", reward}};
}

/// Sizes and latencies of a case, which tables of CPU and device begin with.
std::vector<std::string> first_cells(const Json& c) {
  std::vector<std::string> row = {c["name"], c["problems"].dump(), c["rollouts"].dump(),
                                  c["horizon"].dump()};
  for (const auto& [key, value] : c["time_us"].items())
    row.push_back(time_text(value.get<double>()));
  row.push_back(c["plans"].dump());
  return row;
}

std::string as_text(const Json& result) {
  std::vector<std::vector<std::string>> rows = {{"case", "B", "K", "H", "p50", "p90", "p99",
                                                 "p99.9", "max", "plans", "evals/s", "values/s",
                                                 "GFLOP/s", "share"}};
  for (const Json& c : result["cases"]) {
    std::vector<std::string> row = first_cells(c);
    row.push_back(text("%.3g", c["evals_per_second"].get<double>()));
    row.push_back(text("%.3g", c["values_per_second"].get<double>()));
    row.push_back(text("%.1f", c["gflops"].get<double>()));
    row.push_back(text("%.2f", c["share"].get<double>()));
    rows.push_back(row);
  }
  const Json& matrix = result["matrix"];
  return table(rows) + text(
                           "\n%s, %d threads; p50 and so on: latency of one plan; rates: all plans "
                           "in their total time; a plain matrix product: %.1f GFLOP/s (%s)\n",
                           result["precision"].get<std::string>().c_str(),
                           result["threads"].get<int>(), matrix["gflops"].get<double>(),
                           matrix["by"].get<std::string>().c_str());
}

std::string device_text(const Json& result) {
  std::vector<std::vector<std::string>> rows = {
      {"case", "B", "K", "H", "p50", "p90", "p99", "p99.9", "max", "plans", "device p50",
       "device p99", "in a row", "evals/s", "GFLOP/s", "path", "apart"}};
  for (const Json& c : result["cases"]) {
    std::vector<std::string> row = first_cells(c);
    row.push_back(time_text(c["device_latency_us"]["p50"].get<double>()));
    row.push_back(time_text(c["device_latency_us"]["p99"].get<double>()));
    row.push_back(time_text(c["device_us"]["median"].get<double>()));
    row.push_back(text("%.3g", c["device_evals_per_second"].get<double>()));
    row.push_back(text("%.1f", c["device_gflops"].get<double>()));
    row.push_back(c["path"]);
    row.push_back(text("%.2g", c["agreement"]["largest"].get<double>()));
    rows.push_back(row);
  }
  return table(rows) + text(
                           "\n%s, %s; p50 and so on: latency of one plan as the host sees it; "
                           "device: by its own clock, alone and in a row; rates: in a row; apart: "
                           "largest difference of S from the CPU's, in temperatures\n",
                           result["device_name"].get<std::string>().c_str(),
                           result["precision"].get<std::string>().c_str());
}

int run_on_device(const PlanBenchOptions& options) {
  const std::vector<PlanCase> cases = chosen_cases(options);
  const Budget budget = options.budget(kSeconds);
  Precision precision = chosen_precision(options.precision, Device::cuda, kDevicePrecision);
  if (precision == Precision::automatic) precision = kDevicePrecision;
  const cuda::Path path = read_path(options.path.empty() ? "auto" : options.path);
  if (!options.threads.empty()) throw UsageError("--threads: is for --device cpu");
  if (!options.nets.empty()) save_nets(cases.front(), options.nets);
  const auto device = cuda_device();
  std::string device_name;
  Json list = Json::array();
  for (const PlanCase& c : cases) {  // one at a time: they have the device for themselves
    DeviceProblem problem(c, precision, path, device);
    const Timed timed = problem.timed();
    const Timing timing = time_cases({timed}, nullptr, budget).front();
    problem.check();
    Json result = as_json(c, problem.reward_name());
    add_timing(result, timed, timing, nullptr);
    result["histogram"] = histogram(timing);
    problem.add_device_results(result, budget.seconds);
    device_name = problem.device_name();
    list.push_back(std::move(result));
  }
  const Json result = {{"device", "cuda"},
                       {"device_name", device_name},
                       {"precision", to_string(precision)},
                       {"cases", list}};
  write_result(options.json, result, device_text);
  return 0;
}

int run_on_cpu(const PlanBenchOptions& options) {
  const std::vector<PlanCase> cases = chosen_cases(options);
  const Budget budget = options.budget(kSeconds);
  const Precision wanted = chosen_precision(options.precision, Device::cpu, Precision::float32);
  if (!options.path.empty()) throw UsageError("--path: is for --device cuda");
  ThreadPool pool(options.thread_count());
  if (!options.nets.empty()) save_nets(cases.front(), options.nets);
  const Precision precision = resolve_precision(wanted, random_nets(cases.front()).members.spec);
  std::vector<std::unique_ptr<PlanProblem>> problems;
  std::vector<Timed> timed;
  for (const PlanCase& c : cases) {
    problems.push_back(std::make_unique<PlanProblem>(c, precision, pool));
    timed.push_back(problems.back()->timed());
  }
  Yardstick yardstick(pool, precision);
  const std::vector<Timing> timings = time_cases(timed, &yardstick, budget);
  Json list = Json::array();
  for (std::size_t i = 0; i < problems.size(); ++i) {
    problems[i]->check();
    Json result = as_json(cases[i], problems[i]->reward_name());
    add_timing(result, timed[i], timings[i], &yardstick);
    result["histogram"] = histogram(timings[i]);
    list.push_back(std::move(result));
  }
  const Json result = {{"device", "cpu"},
                       {"precision", to_string(precision)},
                       {"threads", pool.threads()},
                       {"matrix", yardstick.as_json()},
                       {"cases", list}};
  write_result(options.json, result, as_text);
  return 0;
}

int run_bench_plan(const PlanBenchOptions& options) {
  return resolve_device(options.device) == Device::cuda ? run_on_device(options)
                                                        : run_on_cpu(options);
}

}  // namespace

Run add_bench_plan(CLI::App& app) {
  auto options = std::make_shared<PlanBenchOptions>();
  options->cases = "a";
  add_text(app, "--case", options->cases, "NAMES",
           "a, b, c, d or e, or several as a,b; a if not given");
  add_text(app, "--problems", options->problems, "B",
           "problems planned at once, each with its plan");
  add_text(app, "--rollouts", options->rollouts, "K", "rollouts of each problem");
  add_text(app, "--horizon", options->horizon, "H", "model steps before the critic closes");
  add_text(app, "--nx", options->nx, "N", "size of the observation");
  add_text(app, "--nu", options->nu, "N", "size of the action");
  add_text(app, "--members", options->members, "E", "dynamics models in the ensemble");
  add_text(app, "--width", options->width, "W", "units of a hidden layer");
  add_text(app, "--layers", options->layers, "N", "hidden layers");
  add_text(app, "--precision", options->precision, "P",
           "float32 (if not given), bfloat16 or auto, the faster one here; with cuda float16 (if "
           "not given), bfloat16 or float32");
  options->add_device(app);
  add_text(app, "--path", options->path, "P",
           "kernels of --device cuda: auto (if not given), tile, cluster, wgmma or plain");
  options->add_threads(app);
  options->add_budget(app, text("%g", kSeconds));
  add_text(app, "--nets", options->nets, "FILE",
           "also write the nets of the (first) case as a bundle, for comparisons");
  options->add_json(app);
  app.footer(std::string(kFooter) + kWorkRule + '\n' + kDeviceFooter);
  return [options] { return run_bench_plan(*options); };
}

}  // namespace softmpc::tools
