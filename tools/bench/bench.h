// SPDX-License-Identifier: Apache-2.0
// The benchmarks of `softmpc bench`; each adds its options to a subcommand of its own.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "bench/bench_timing.h"
#include "program/command.h"

namespace softmpc::tools {

Run add_bench_plan(CLI::App& app);
Run add_bench_scaling(CLI::App& app);
Run add_bench_train(CLI::App& app);
Run add_bench_update(CLI::App& app);
Run add_bench_diff_drive(CLI::App& app);
Run add_bench_loop(CLI::App& app);
Run add_bench_soak(CLI::App& app);

/// Options that several benchmarks share, as typed; empty: not given.
struct BenchOptions {
  std::string device, threads, precision, plans, seconds;
  bool json = false;

  void add_threads(CLI::App& app);
  void add_budget(CLI::App& app, const std::string& default_seconds);
  void add_device(CLI::App& app);
  void add_json(CLI::App& app);

  int thread_count() const;  ///< as typed; 0: all cores
  Budget budget(double default_seconds) const;
};

/// The result as one JSON document, with the compiler of the program, or as `text` says.
void write_result(bool json, Json result, const std::function<std::string(const Json&)>& text);

/// A number above 0, or UsageError naming option, value and rule.
double positive_number(const std::string& option, const std::string& value, double high);
/// "1,2,3" as whole numbers.
std::vector<int> whole_numbers(const std::string& option, const std::string& value, int high);
/// Words between commas.
std::vector<std::string> comma_words(const std::string& value);
/// "1.23 ms", "45.6 us"
std::string time_text(double us);

}  // namespace softmpc::tools
