// SPDX-License-Identifier: Apache-2.0
// What the subcommands share in reading the command line.
#include "program/command.h"

#include <charconv>
#include <filesystem>

#include "program/gpu_device.h"
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

Device resolve_device(const std::string& device) {
  const Device wanted = device.empty() ? Device::cpu : parse_device(device, "--device");
  if (wanted == Device::cpu) return wanted;
  const std::string missing = cuda_unavailable();
  if (missing.empty()) return Device::cuda;
  if (wanted == Device::automatic) return Device::cpu;
  throw Error("--device cuda: " + missing + "; --device cpu and auto need none");
}

Device resolve_cpu(const std::string& device, const std::string& what) {
  if (device == to_string(Device::automatic)) return Device::cpu;
  if (resolve_device(device) == Device::cpu) return Device::cpu;
  throw Error("--device cuda: " + what);
}

std::string cpu_only(const Bundle& bundle) {
  if (bundle.policy && bundle.acting == Acting::policy)
    return "this bundle acts by its policy, which the CPU evaluates";
  if (bundle.members.stack == 0)
    return "this bundle plans with the environment, which runs on the CPU";
  return "";
}

Device acting_device(const std::string& device, const Bundle& bundle) {
  const std::string why = cpu_only(bundle);
  return why.empty() ? resolve_device(device) : resolve_cpu(device, why);
}

Precision read_precision(const std::string& text, Device device) {
  if (text == "float32") return Precision::float32;
  if (text == "bfloat16") return Precision::bfloat16;
  if (text == "auto") return Precision::automatic;
  if (text == "float16" && device == Device::cuda) return Precision::float16;
  if (text == "float16") {
    throw UsageError(
        "--precision: float16 is not for the CPU, which computes float32, bfloat16 or auto");
  }
  throw UsageError("--precision: '" + text + "' must be one of float32, bfloat16, float16, auto");
}

Precision chosen_precision(const std::string& text, Device device, Precision on_cpu) {
  if (!text.empty()) return read_precision(text, device);
  return device == Device::cuda ? kDevicePrecision : on_cpu;
}

cuda::Path read_path(const std::string& text) {
  using cuda::Path;
  for (const Path path : {Path::automatic, Path::tile, Path::cluster, Path::wgmma, Path::plain}) {
    if (text == to_string(path)) return path;
  }
  throw UsageError("--path: '" + text + "' must be one of auto, tile, cluster, wgmma, plain");
}

Device resolve_train_device(Device device) {
  return device == Device::automatic ? Device::cpu : resolve_device(to_string(device));
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

std::string kernels_beside(const std::string& bundle) {
  return std::filesystem::path(bundle).replace_extension(".kernels").string();
}

void use_kernels_beside(const std::string& bundle, Device device) {
  std::error_code fault;
  const std::string file = kernels_beside(bundle);
  if (device == Device::cuda && std::filesystem::exists(file, fault)) cuda::use_kernels(file);
}

}  // namespace softmpc::tools
