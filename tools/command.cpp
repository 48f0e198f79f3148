// SPDX-License-Identifier: Apache-2.0
// What the subcommands share in reading the command line.
#include "command.h"

#include <charconv>
#include <filesystem>

#include "softmpc/cuda.h"
#include "softmpc/error.h"

namespace softmpc::tools {

CLI::Option* add_text(CLI::App& app, const std::string& names, std::string& value,
                      const std::string& type, const std::string& help) {
  return app.add_option(names, value, help)->type_name(type);
}

std::int64_t whole_number(const std::string& option, const std::string& value, std::int64_t low,
                          std::int64_t high) {
  std::int64_t number = 0;
  const char* end = value.data() + value.size();
  const auto [stop, fault] = std::from_chars(value.data(), end, number);
  if (value.empty() || fault != std::errc{} || stop != end || number < low || number > high) {
    throw UsageError(option + ": '" + value + "' must be a whole number from " +
                     std::to_string(low) + " to " + std::to_string(high));
  }
  return number;
}

std::uint64_t seed_number(const std::string& option, const std::string& value) {
  return static_cast<std::uint64_t>(whole_number(option, value, 0, (std::int64_t{1} << 53) - 1));
}

std::string resolve_device(const std::string& device) {
  if (device == "cpu" || device == "auto") return "cpu";
  if (device == "cuda") {
    throw Error(
        "--device cuda: this build of softmpc has no CUDA backend; use --device cpu or auto");
  }
  throw UsageError("--device: '" + device + "' must be one of cpu, cuda, auto");
}

std::string resolve_train_device(const std::string& device) {
  if (device != "cuda") return resolve_device(device);
  const std::string why = cuda::unavailable();
  if (!why.empty()) throw Error("--device cuda: " + why);
  return device;
}

std::string bundle_path(const std::string& run_or_bundle) {
  namespace fs = std::filesystem;
  std::error_code fault;
  if (!fs::is_directory(run_or_bundle, fault)) return run_or_bundle;
  const fs::path bundle = fs::path(run_or_bundle) / "model.safetensors";
  if (!fs::exists(bundle, fault)) {
    throw Error(run_or_bundle + ": a folder without model.safetensors; name a run folder (a run " +
                "writes its bundle with the first checkpoint) or a bundle");
  }
  return bundle.string();
}

}  // namespace softmpc::tools
