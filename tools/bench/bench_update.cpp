// SPDX-License-Identifier: Apache-2.0
// softmpc bench update: one update of the nets by each learner.
#include <memory>

#include "bench/bench.h"
#include "bench/bench_problem.h"
#include "program/console.h"
#include "program/statistics.h"
#include "softmpc/task.h"
#include "train/train_settings.h"
#include "train/training.h"

namespace softmpc::tools {
namespace {

struct UpdateBenchOptions : BenchOptions {
  std::string task = "Hopper", preset = "paper-gaussian", rounds;
  std::vector<int> batches = {32, 128, 256, 1024};
  std::vector<std::string> settings;
};

constexpr const char* kFooter =
    R"(One update of the ensemble (all members) and one of the critics, on one thread, up to nets that a
planner can read, median over rounds: by the fused learner and, where the program has LibTorch, by that
of LibTorch (autograd). All are timed in turn in each round.

Example: softmpc bench update --batch 32,256 --set model.width=512)";

/// Medians of one batch size, as JSON.
Json time_batch(Config c, const TaskSpec& spec, int batch, int rounds) {
  c.model.batch_size = c.critic.batch_size = batch;
  const UpdateTimes times = update_times(c, spec.nx, spec.nu, rounds);
  const double model = median(times.model), critic = median(times.critic);
  Json result = {{"batch_size", batch},
                 {"model_us", model},
                 {"critic_us", critic},
                 {"sum_us", model + critic}};
  if (times.torch_model.empty()) return result;
  const double torch_model = median(times.torch_model), torch_critic = median(times.torch_critic);
  result["libtorch_model_us"] = torch_model;
  result["libtorch_critic_us"] = torch_critic;
  result["libtorch_sum_us"] = torch_model + torch_critic;
  return result;
}

std::string time_of(const Json& batch, const char* key) {
  return batch.contains(key) ? time_text(batch.at(key).get<double>()) : "none";
}

std::string as_text(const Json& result) {
  std::vector<std::vector<std::string>> rows = {
      {"batch", "models", "LibTorch", "critics", "LibTorch", "both", "LibTorch"}};
  for (const Json& batch : result["batches"]) {
    std::vector<std::string> row = {std::to_string(batch.at("batch_size").get<int>())};
    for (const char* key : {"model_us", "libtorch_model_us", "critic_us", "libtorch_critic_us",
                            "sum_us", "libtorch_sum_us"})
      row.push_back(time_of(batch, key));
    rows.push_back(row);
  }
  return table(rows);
}

int run_bench_update(const UpdateBenchOptions& options) {
  TrainOptions train;
  train.task = options.task;
  train.preset = options.preset;
  train.settings = options.settings;
  train.out = "none";
  const TrainRequest request = resolve(train);
  const Config& c = request.config;
  const TaskSpec spec = find_task(request.task).spec(task_options(c.environment));
  const int rounds = options.rounds.empty()
                         ? 500
                         : static_cast<int>(whole_number("--rounds", options.rounds, 1, 1 << 20));
  Json result = {{"device", "cpu"},          {"task", request.task},
                 {"preset", request.preset}, {"members", c.model.members},
                 {"rounds", rounds},         {"settings", options.settings},
                 {"batches", Json::array()}};
  for (int batch : options.batches) result["batches"].push_back(time_batch(c, spec, batch, rounds));
  write_result(options.json, result, as_text);
  return 0;
}

}  // namespace

Run add_bench_update(CLI::App& app) {
  auto options = std::make_shared<UpdateBenchOptions>();
  add_text(app, "--task", options->task, "TASK", "whose sizes to use, Hopper if not given");
  add_text(app, "--preset", options->preset, "P", "paper-gaussian if not given");
  add_text(app, "--rounds", options->rounds, "N", "updates of each, 500 if not given");
  app.add_option("--batch", options->batches, "batch sizes, 32,128,256,1024 if not given")
      ->delimiter(',')
      ->type_name("N,N..")
      ->check(CLI::Range(1, 1 << 20));
  app.add_option("--set", options->settings, "change one setting; may be repeated")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  options->add_json(app);
  app.footer(kFooter);
  return [options] { return run_bench_update(*options); };
}

}  // namespace softmpc::tools
