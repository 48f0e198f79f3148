// SPDX-License-Identifier: Apache-2.0
// softmpc bench update: one update of the networks, beside LibTorch's operators.
#include <memory>

#include "bench.h"
#include "bench_problem.h"
#include "console.h"
#include "softmpc/task.h"
#include "statistics.h"
#include "train_settings.h"
#include "training.h"

namespace softmpc::tools {
namespace {

struct UpdateBenchOptions : BenchOptions {
  std::string task = "Hopper", preset = "paper-gaussian", rounds;
  std::vector<std::string> settings;
};

constexpr const char* kFooter =
    R"(One update of the ensemble (all members) and one of the critics, on one thread, median over rounds;
beside them the same mathematics by LibTorch: members stacked for batched matrix products, the
backward pass written out, fused Adam over flat storage. All four are timed in turn in each round.

Example: softmpc bench update --set model.batch_size=256 --set critic.batch_size=256)";

int run_bench_update(const UpdateBenchOptions& options) {
  TrainOptions train;
  train.task = options.task;
  train.preset = options.preset;
  train.settings = options.settings;
  train.out = "none";
  const TrainRequest request = resolve(train);
  const Config& c = request.config;
  const TaskSpec spec =
      find_task(request.task).spec({c.environment.positions, c.environment.time_limit});
  const int rounds = options.rounds.empty()
                         ? 2000
                         : static_cast<int>(whole_number("--rounds", options.rounds, 1, 1 << 20));
  const UpdateTimes times = update_times(c, spec.nx, spec.nu, rounds);
  const double model = median(times.model), critic = median(times.critic);
  const double torch_model = median(times.torch_model), torch_critic = median(times.torch_critic);
  const Json result = {{"device", "cpu"},
                       {"task", request.task},
                       {"preset", request.preset},
                       {"members", c.model.members},
                       {"batch_size", c.model.batch_size},
                       {"model_us", model},
                       {"critic_us", critic},
                       {"sum_us", model + critic},
                       {"libtorch_model_us", torch_model},
                       {"libtorch_critic_us", torch_critic},
                       {"libtorch_sum_us", torch_model + torch_critic},
                       {"rounds", rounds},
                       {"settings", options.settings}};
  if (options.json) {
    write_out(result.dump() + '\n');
    return 0;
  }
  write_out(table({{"update", "softmpc", "LibTorch"},
                   {"models", time_text(model), time_text(torch_model)},
                   {"critics", time_text(critic), time_text(torch_critic)},
                   {"both", time_text(model + critic), time_text(torch_model + torch_critic)}}));
  return 0;
}

}  // namespace

Run add_bench_update(CLI::App& app) {
  auto options = std::make_shared<UpdateBenchOptions>();
  add_text(app, "--task", options->task, "TASK", "whose sizes to use, Hopper if not given");
  add_text(app, "--preset", options->preset, "P", "paper-gaussian if not given");
  add_text(app, "--rounds", options->rounds, "N", "updates of each, 2000 if not given");
  app.add_option("--set", options->settings, "change one setting; may be repeated")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  options->add_json(app);
  app.footer(kFooter);
  return [options] { return run_bench_update(*options); };
}

}  // namespace softmpc::tools
