// SPDX-License-Identifier: Apache-2.0
// softmpc eval: plays episodes with a trained controller.
#include <cstddef>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "program/command.h"
#include "program/console.h"
#include "program/gpu_device.h"
#include "program/statistics.h"
#include "softmpc/error.h"
#include "train/training.h"
#include "video/episode_video.h"

namespace softmpc::tools {
namespace {

using Json = nlohmann::ordered_json;

struct EvalOptions {
  std::string run, episodes = "5", seed = "1000", threads = "0", device, precision;
  VideoOptions video;
  bool json = false;
};

/// The options that say something about a video belong to one.
void check_video_options(const VideoOptions& video) {
  if (!video.file.empty()) return;
  for (const auto& [name, value] :
       {std::pair("--episode", &video.episode), std::pair("--size", &video.size),
        std::pair("--speed", &video.speed), std::pair("--quality", &video.quality),
        std::pair("--overlay", &video.overlay)})
    if (!value->empty())
      throw UsageError(std::string(name) + ": is of --video FILE, which is missing");
}

Json video_json(const std::string& file, const VideoReport& report) {
  return {{"file", file},
          {"episode", report.episode},
          {"frames", report.frames},
          {"width", report.format.width},
          {"height", report.format.height},
          {"frames_per_second", report.format.rate}};
}

std::string returns_text(const Bundle& bundle, Device device, const std::vector<double>& returns,
                         const std::vector<int>& lengths) {
  std::vector<std::vector<std::string>> rows = {{"episode", "return", "length"}};
  for (std::size_t i = 0; i < returns.size(); ++i) {
    rows.push_back({std::to_string(i), text("%.2f", returns[i]), std::to_string(lengths[i])});
  }
  return table(rows) +
         text("%s on %s, %zu episodes: mean %.2f, median %.2f, standard deviation %.2f\n",
              bundle.task.c_str(), to_string(device), returns.size(), mean(returns),
              median(returns), standard_deviation(returns));
}

int run_eval(const EvalOptions& options) {
  PlayOptions play_options;
  play_options.episodes = static_cast<int>(whole_number("--episodes", options.episodes, 1, 100000));
  play_options.seed = seed_number("--seed", options.seed);
  play_options.threads = static_cast<int>(whole_number("--threads", options.threads, 0, 1024));
  check_video_options(options.video);
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
  std::optional<EpisodeVideo> video;
  std::vector<std::vector<std::byte>> starts;
  if (!options.video.file.empty()) {
    video.emplace(options.video, bundle, path, play_options.episodes);
    play_options.starts = &starts;
  }
  std::vector<int> lengths;
  const std::vector<double> returns = play_bundle(bundle, path, play_options, lengths);
  if (options.json) {
    Json document = {
        {"device", to_string(device)}, {"precision", to_string(bundle.planner.precision)},
        {"returns", returns},          {"mean", mean(returns)},
        {"median", median(returns)},   {"std", standard_deviation(returns)},
        {"lengths", lengths}};
    if (video)
      document["video"] =
          video_json(options.video.file, video->record(play_options, returns, lengths, true));
    write_out(document.dump() + '\n');
    return 0;
  }
  write_out(returns_text(bundle, device, returns, lengths));
  if (video) {
    const VideoReport report = video->record(play_options, returns, lengths, false);
    write_out(text("%s: episode %d, %d frames of %dx%d, %.4g a second\n",
                   options.video.file.c_str(), report.episode, report.frames, report.format.width,
                   report.format.height, report.format.rate));
  }
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
               "\"lengths\"}, with --video \"video\" too");
  VideoOptions& video = options->video;
  add_text(
      app, "--video", video.file, "FILE",
      "draws an episode: .webp, or .mp4 .webm .gif (by ffmpeg); without an ending a new folder "
      "of PNGs");
  add_text(app, "--episode", video.episode, "E",
           "which of those played: best (if not given), median, worst or its number");
  add_text(app, "--size", video.size, "WxH", "pixels, 640x480 if not given");
  add_text(app, "--speed", video.speed, "X", "1 (if not given) is real time, 0.25 a quarter of it");
  add_text(app, "--quality", video.quality, "Q",
           "good (if not given), or draft: no shadows, rough edges, quick");
  add_text(app, "--overlay", video.overlay, "PARTS",
           "all (if not given), none, or some of rollouts,plan,text");
  app.footer(
      "Plays with the planner settings of the training, without updates and without exploration\n"
      "noise: the action executed is clip(u_0). The same seed plays the same episodes.\n"
      "A video shows what the planner had in mind: rollouts, and its plan as the learned model "
      "sees\n"
      "it beside the same plan as the simulator would carry it out; the gap is the model's error.\n"
      "Drawing needs no display, but libegl1 and libegl-mesa0, or libosmesa6 "
      "(SOFTMPC_GL=osmesa).\n\n"
      "Example: softmpc eval runs/Hopper-default-seed1 --episodes 20\n"
      "         softmpc eval runs/Hopper-default-seed1 --video hopper.webp --speed 0.5");
  return [options] { return run_eval(*options); };
}

}  // namespace softmpc::tools
