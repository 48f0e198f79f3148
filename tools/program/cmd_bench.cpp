// SPDX-License-Identifier: Apache-2.0
// softmpc bench: the benchmarks, and the options that they share.
#include <charconv>
#include <cmath>
#include <memory>
#include <sstream>

#include "bench/bench.h"
#include "program/command.h"
#include "program/console.h"
#include "softmpc/error.h"

namespace softmpc::tools {
namespace {

constexpr Command kBenchmarks[] = {
    {"plan", "time of a plan: percentiles, rate, share of a plain matrix product", add_bench_plan},
    {"scaling", "time of a plan against rollouts, horizon, width, members, problems, threads",
     add_bench_scaling},
    {"train", "environment steps per second of training", add_bench_train},
    {"update", "one update of the models and the critics, beside LibTorch", add_bench_update},
    {"diff-drive", "plans with an analytic model: a differential drive on a cost map",
     add_bench_diff_drive},
    {"loop", "return of a controller in an irregular loop, told of it and not", add_bench_loop},
    {"soak", "a controller against the wall clock: times, misses, and whose they are",
     add_bench_soak},
};

constexpr const char* kFooter =
    R"(Percentiles are latencies of single calls; everything a second is throughput, what all timed calls did
in their total time. Rates stand beside that of a plain matrix product on the same threads in the
same run, measured between the parts of the benchmark, so that the share survives a busy machine.
Times do not: compare them on an idle one.

Examples:
  softmpc bench plan --case a,b,c --json
  softmpc bench plan --case a --plans 100000 --json      tail of the latency of one controller
  softmpc bench train Hopper --preset paper-gaussian --threads 2)";

}  // namespace

void BenchOptions::add_threads(CLI::App& app) {
  add_text(app, "--threads", threads, "N", "threads, 0 or not given: all cores");
}

void BenchOptions::add_budget(CLI::App& app, const std::string& default_seconds) {
  add_text(app, "--plans", plans, "N", "plans to time, of each case");
  add_text(app, "--seconds", seconds, "S",
           "time for each case if --plans is not given, " + default_seconds +
               " if neither is; at least three plans");
}

void BenchOptions::add_device(CLI::App& app) {
  add_text(app, "--device", device, "D", kDeviceHelp);
}

void BenchOptions::add_json(CLI::App& app) {
  app.add_flag("--json", json, "one JSON document on standard output and nothing else");
}

int BenchOptions::thread_count() const {
  return threads.empty() ? 0 : static_cast<int>(whole_number("--threads", threads, 0, 1024));
}

Budget BenchOptions::budget(double default_seconds) const {
  if (!plans.empty() && !seconds.empty()) {
    throw UsageError("--plans and --seconds exclude each other");
  }
  Budget budget;
  if (!plans.empty()) {
    budget.samples = static_cast<std::size_t>(whole_number("--plans", plans, 1, Budget::kMost));
  }
  budget.seconds = seconds.empty() ? default_seconds : positive_number("--seconds", seconds, 3600);
  return budget;
}

void write_result(bool json, Json result, const std::function<std::string(const Json&)>& text) {
  result["compiler"] = SOFTMPC_COMPILER;
  write_out(json ? result.dump() + '\n' : text(result));
}

double positive_number(const std::string& option, const std::string& value, double high) {
  double number = 0;
  const char* end = value.data() + value.size();
  const auto [stop, fault] = std::from_chars(value.data(), end, number);
  if (fault != std::errc{} || stop != end || !(number > 0) || number > high) {
    throw UsageError(option + ": '" + value + "' must be a number above 0 and at most " +
                     text("%g", high));
  }
  return number;
}

std::vector<std::string> comma_words(const std::string& value) {
  std::vector<std::string> words;
  std::istringstream stream(value);
  for (std::string word; std::getline(stream, word, ',');) words.push_back(word);
  if (value.empty() || value.back() == ',') words.emplace_back();
  return words;
}

std::vector<int> whole_numbers(const std::string& option, const std::string& value, int high) {
  std::vector<int> numbers;
  for (const std::string& word : comma_words(value)) {
    numbers.push_back(static_cast<int>(whole_number(option, word, 1, high)));
  }
  return numbers;
}

std::string time_text(double us) {
  if (us >= 1e6) return text("%.3g s", us * 1e-6);
  if (us >= 1e3) return text("%.4g ms", us * 1e-3);
  return text("%.4g us", us);
}

Run add_bench(CLI::App& app) {
  app.footer(kFooter);
  std::vector<std::pair<CLI::App*, Run>> runs;
  for (const Command& benchmark : kBenchmarks) {
    CLI::App* sub = app.add_subcommand(benchmark.name, benchmark.summary);
    sub->set_help_flag("-h,--help", "show this help");
    runs.emplace_back(sub, benchmark.add(*sub));
  }
  return [runs] {
    for (const auto& [sub, run] : runs) {
      if (sub->parsed()) return run();
    }
    throw UsageError(
        "bench: no benchmark given: one of plan, scaling, train, update, diff-drive, loop, soak; "
        "see softmpc bench --help");
  };
}

}  // namespace softmpc::tools
