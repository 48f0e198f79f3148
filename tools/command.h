// SPDX-License-Identifier: Apache-2.0
// The subcommands of the program, and what they share in reading the command line.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <string>

namespace softmpc::tools {

/// Runs a subcommand whose options have been read; the result is the exit code.
using Run = std::function<int()>;

/// One subcommand: `add` declares its options and returns what runs it.
struct Command {
  const char* name;
  const char* summary;
  Run (*add)(CLI::App& app);
};

Run add_tasks(CLI::App& app);
Run add_train(CLI::App& app);
Run add_eval(CLI::App& app);
Run add_plan(CLI::App& app);
Run add_verify(CLI::App& app);
Run add_bench(CLI::App& app);

/// An option that is kept as text until its subcommand runs, so that one place words the errors.
CLI::Option* add_text(CLI::App& app, const std::string& names, std::string& value,
                      const std::string& type, const std::string& help);

/// Throws UsageError naming option, value and rule.
std::int64_t whole_number(const std::string& option, const std::string& value, std::int64_t low,
                          std::int64_t high);
/// A seed: 0..2^53-1, so that it survives JSON.
std::uint64_t seed_number(const std::string& option, const std::string& value);
/// "cpu" for cpu and auto; says what is missing for cuda.
std::string resolve_device(const std::string& device);
/// The same for training, which has a CUDA backend: "cuda" where there is a device.
std::string resolve_train_device(const std::string& device);
/// The bundle of a run folder, or the path itself where it is no folder.
std::string bundle_path(const std::string& run_or_bundle);

}  // namespace softmpc::tools
