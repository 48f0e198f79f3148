// SPDX-License-Identifier: Apache-2.0
// softmpc eval: plays episodes with a trained controller.
#include <memory>
#include <nlohmann/json.hpp>

#include "program/command.h"
#include "program/console.h"
#include "program/gpu_device.h"
#include "program/statistics.h"
#include "softmpc/error.h"
#include "train/training.h"

namespace softmpc::tools {
namespace {

using Json = nlohmann::ordered_json;

struct EvalOptions {
  std::string run, episodes = "5", seed = "1000", threads = "0", device, precision;
  bool json = false;
};

int run_eval(const EvalOptions& options) {
  PlayOptions play_options;
  play_options.episodes = static_cast<int>(whole_number("--episodes", options.episodes, 1, 100000));
  play_options.seed = seed_number("--seed", options.seed);
  play_options.threads = static_cast<int>(whole_number("--threads", options.threads, 0, 1024));
  const std::string path = bundle_path(options.run);
  resolve_device(options.device);  // before a file is read
  Bundle bundle = load_bundle(path);
  const Device device = acting_device(options.device, bundle);
  use_kernels_beside(path, device);
  bundle.planner.precision = chosen_precision(options.precision, device, bundle.planner.precision);
  play_options.controller = [&device](const Bundle& b, const RewardModel* reward,
                                      ControllerOptions wanted) {
    wanted.device = device;
    return make_controller(b, reward, wanted);
  };
  std::vector<int> lengths;
  const std::vector<double> returns = play_bundle(bundle, path, play_options, lengths);
  if (options.json) {
    write_out(Json{{"device", to_string(device)},
                   {"precision", to_string(bundle.planner.precision)},
                   {"returns", returns},
                   {"mean", mean(returns)},
                   {"median", median(returns)},
                   {"std", standard_deviation(returns)},
                   {"lengths", lengths}}
                  .dump() +
              '\n');
    return 0;
  }
  std::vector<std::vector<std::string>> rows = {{"episode", "return", "length"}};
  for (std::size_t i = 0; i < returns.size(); ++i) {
    rows.push_back({std::to_string(i), text("%.2f", returns[i]), std::to_string(lengths[i])});
  }
  write_out(table(rows) +
            text("%s on %s, %zu episodes: mean %.2f, median %.2f, standard deviation %.2f\n",
                 bundle.task.c_str(), to_string(device), returns.size(), mean(returns),
                 median(returns), standard_deviation(returns)));
  return 0;
}

}  // namespace

Run add_eval(CLI::App& app) {
  auto options = std::make_shared<EvalOptions>();
  add_text(app, "RUN", options->run, "", "a run folder, or a bundle (model.safetensors)")
      ->required();
  add_text(app, "--episodes", options->episodes, "N", "episodes to play, 5 if not given");
  add_text(app, "--seed", options->seed, "S", "seed of the start states, 1000 if not given");
  add_text(app, "--threads", options->threads, "N", "threads, 0 (the default) for all cores");
  add_text(app, "--device", options->device, "D", kDeviceHelp);
  add_text(app, "--precision", options->precision, "P",
           "planner.precision: float32, bfloat16 or auto, the bundle's own if not given; with cuda "
           "float16 too, and if not given");
  app.add_flag("--json", options->json,
               "one JSON document: {\"device\", \"precision\", \"returns\": [...], \"mean\", "
               "\"median\", \"std\", "
               "\"lengths\"}");
  app.footer(
      "Plays with the planner settings of the training, without updates and without exploration\n"
      "noise: the action executed is clip(u_0). The same seed plays the same episodes.\n\n"
      "Example: softmpc eval runs/Hopper-default-seed1 --episodes 20");
  return [options] { return run_eval(*options); };
}

}  // namespace softmpc::tools
