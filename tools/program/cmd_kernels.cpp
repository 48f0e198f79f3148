// SPDX-License-Identifier: Apache-2.0
// softmpc kernels: compiles a controller's GPU kernels on a machine that needs no GPU.
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "program/command.h"
#include "program/console.h"
#include "program/task_models.h"
#include "softmpc/controller.h"
#include "softmpc/error.h"

namespace softmpc::tools {
namespace {

using Json = nlohmann::ordered_json;

struct KernelsOptions {
  std::string run, architectures, precision, out;
  bool json = false;
};

/// "sm_87,sm_90" as 87 and 90.
std::vector<int> read_architectures(const std::string& text) {
  std::vector<int> capabilities;
  if (text.empty()) throw UsageError("--arch: is empty, must be as sm_87 or sm_80,sm_90");
  for (std::size_t from = 0; from <= text.size();) {
    const std::size_t end = std::min(text.find(',', from), text.size());
    const std::string word = text.substr(from, end - from);
    from = end + 1;
    const std::string number = word.starts_with("sm_") ? word.substr(3) : "";
    if (number.empty() || number.size() > 3 ||
        number.find_first_not_of("0123456789") != std::string::npos)
      throw UsageError("--arch: '" + word + "' is no architecture, must be as sm_87 or sm_90");
    capabilities.push_back(std::stoi(number));
  }
  return capabilities;
}

int run_kernels(const KernelsOptions& options) {
  const std::vector<int> capabilities = read_architectures(options.architectures);
  const std::string path = bundle_path(options.run);
  Bundle bundle = load_bundle(path);
  if (const std::string why = cpu_only(bundle); !why.empty())
    throw Error(path + ": " + why + ": there are no kernels");
  bundle.planner.precision =
      chosen_precision(options.precision, Device::cuda, bundle.planner.precision);
  const auto reward = reward_of(bundle, path);
  const std::string out = options.out.empty() ? kernels_beside(path) : options.out;
  const cuda::CompiledKernels done =
      cuda::compile_kernels(out, capabilities, [&](const cuda::DeviceOptions& on) {
        Controller(bundle, reward.get(), {.device = Device::cuda, .cuda = &on});
      });
  if (options.json) {
    write_out(Json{{"file", out}, {"kernels", done.kernels}, {"bytes", done.bytes}}.dump() + '\n');
    return 0;
  }
  write_out(text("%s: %d kernels for %s, %.1f MB\n", out.c_str(), done.kernels,
                 options.architectures.c_str(), 1e-6 * static_cast<double>(done.bytes)));
  return 0;
}

}  // namespace

Run add_kernels(CLI::App& app) {
  auto options = std::make_shared<KernelsOptions>();
  add_text(app, "RUN", options->run, "", "a run folder, or a bundle (model.safetensors)")
      ->required();
  add_text(app, "--arch", options->architectures, "LIST",
           "GPU architectures, as sm_87 (a Jetson Orin) or sm_80,sm_90; one of a family serves "
           "the newer ones of it")
      ->required();
  add_text(app, "--precision", options->precision, "P",
           "planner.precision of the planner to come: float16 (if not given), bfloat16 or float32");
  add_text(app, "--out", options->out, "FILE",
           "what to write, model.kernels beside the bundle if not given");
  app.add_flag("--json", options->json, "one JSON document: {\"file\", \"kernels\", \"bytes\"}");
  app.footer(
      "Compiles ahead what a CUDA planner of this bundle loads, for every size of device: a robot\n"
      "then needs neither a compiler nor time for one. Needs NVRTC here, and no GPU.\n"
      "'softmpc eval' and 'plan' use model.kernels where it lies beside the bundle; C++ programs\n"
      "call softmpc::cuda::use_kernels(FILE), or are started with SOFTMPC_KERNELS=FILE. Kernels\n"
      "belong to the softmpc that made them: with another version they are not used.\n\n"
      "Example: softmpc kernels runs/Hopper-default-seed1 --arch sm_87");
  return [options] { return run_kernels(*options); };
}

}  // namespace softmpc::tools
