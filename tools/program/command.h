// SPDX-License-Identifier: Apache-2.0
// The subcommands of the program, and what they share in reading the command line.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <string>

#include "softmpc/bundle.h"
#include "softmpc/config.h"
#include "softmpc/cuda.h"

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
Run add_explain(CLI::App& app);
Run add_report(CLI::App& app);
Run add_verify(CLI::App& app);
Run add_kernels(CLI::App& app);
Run add_bench(CLI::App& app);
Run add_completion(CLI::App& app);
Run add_man(CLI::App& app);

/// An option that is kept as text until its subcommand runs, so that one place words the errors.
CLI::Option* add_text(CLI::App& app, const std::string& names, std::string& value,
                      const std::string& type, const std::string& help);

/// Throws UsageError naming option, value and rule.
std::int64_t whole_number(const std::string& option, const std::string& value, std::int64_t low,
                          std::int64_t high);
/// A seed: 0..2^53-1, so that it survives JSON.
std::uint64_t seed_number(const std::string& option, const std::string& value);
/// Help of every --device.
inline constexpr const char* kDeviceHelp =
    "cpu, cuda or auto (cuda where it can be used, else cpu); cpu if not given";
/// cpu or cuda; an empty text is cpu, auto is cuda where there is one. Throws UsageError for
/// other words, Error that says what is missing for cuda.
Device resolve_device(const std::string& device);
/// The same for what only the CPU does, as `what` says in a sentence: auto is cpu, cuda an Error.
Device resolve_cpu(const std::string& device, const std::string& what);
/// Why only the CPU acts with this bundle, in a sentence; empty if a device can.
std::string cpu_only(const Bundle& bundle);
/// Where this bundle acts: its policy and a simulator compute on the CPU alone.
Device acting_device(const std::string& device, const Bundle& bundle);
/// "float32", "bfloat16", "float16" or "auto"; throws UsageError naming the option for others, and
/// for float16 on the CPU.
Precision read_precision(const std::string& text, Device device);
/// Of members on a CUDA device where nothing else is asked for: tensor cores have no float32.
inline constexpr Precision kDevicePrecision = Precision::float16;
/// What --precision says, else kDevicePrecision on a device and `on_cpu` on the CPU.
Precision chosen_precision(const std::string& text, Device device, Precision on_cpu);
/// "auto", "tile", "cluster", "wgmma" or "plain"; throws UsageError naming the option for others.
cuda::Path read_path(const std::string& text);
/// The same for training, where auto is the CPU: it supports every setting.
Device resolve_train_device(Device device);
/// The bundle of a run folder, or the path itself where it is no folder.
std::string bundle_path(const std::string& run_or_bundle);
/// Where the kernels of a bundle lie: model.kernels beside model.safetensors.
std::string kernels_beside(const std::string& bundle);
/// cuda::use_kernels of that file where there is one, on a CUDA device.
void use_kernels_beside(const std::string& bundle, Device device);

}  // namespace softmpc::tools
