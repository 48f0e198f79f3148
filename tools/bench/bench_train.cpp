// SPDX-License-Identifier: Apache-2.0
// softmpc bench train: environment steps per second of training, and their work.
#include <algorithm>
#include <memory>

#include "bench/bench.h"
#include "bench/bench_problem.h"
#include "bench/bench_work.h"
#include "program/console.h"
#include "program/statistics.h"
#include "softmpc/error.h"
#include "softmpc/task.h"
#include "train/train_settings.h"
#include "train/training.h"

namespace softmpc::tools {
namespace {

constexpr std::int64_t kSteps = 3000, kWarmup = 500;
constexpr int kChunks = 10;

struct TrainBenchOptions : BenchOptions {
  std::string task, preset, steps, warmup, envs;
  std::vector<std::string> settings;
};

constexpr const char* kFooter =
    R"(Trains without a run folder: acting, simulating, storing, target plans and updates count; the
warm-up, checkpoints and evaluations do not. A plain matrix product on the same threads is timed
before, between and after ten parts of the run. 'steps_per_second' is all steps in their total time;
'flops_per_step' counts the nets' work for one environment step: online plan, target plans, and for
each sample of an update the outputs, the gradient of the weights and that of each layer's inputs but
the first one's. 'share' is the median over the parts of steps_per_second * flops_per_step by the
rate of the product; with bfloat16 the planner's dynamics are evaluated in it, all else in float32.
)";

constexpr const char* kExample = R"(
Example: softmpc bench train Hopper --preset paper-gaussian --threads 2 --json)";

/// Times the steps after the warm-up in parts, with the plain product between them.
class StepTimer final : public TrainObserver {
 public:
  StepTimer(std::int64_t warmup, std::int64_t steps, Yardstick& yardstick)
      : warmup_(warmup), steps_(steps), yardstick_(yardstick) {}

  void on_step(std::int64_t step) override {
    if (step < warmup_ || (begun_ && step < next_)) return;
    if (begun_) {
      const double seconds = now() - start_;
      rates_.push_back(static_cast<double>(step - begin_) / seconds);
      seconds_ += seconds;
      products_.push_back(yardstick_.latest());
    } else {
      first_ = step;
    }
    last_ = begin_ = step;
    yardstick_.measure();
    begun_ = true;
    const std::int64_t part = (step - warmup_) * kChunks / steps_ + 1;
    next_ = warmup_ + std::max<std::int64_t>(part * steps_ / kChunks, step - warmup_ + 1);
    start_ = now();
  }

  std::int64_t steps() const { return last_ - first_; }
  double steps_per_second() const { return static_cast<double>(steps()) / seconds_; }
  double share(double flops) const {
    std::vector<double> shares;
    for (std::size_t i = 0; i < rates_.size(); ++i)
      shares.push_back(rates_[i] * flops * 1e-9 / products_[i]);
    return median(shares);
  }

 private:
  std::int64_t warmup_, steps_;
  Yardstick& yardstick_;
  bool begun_ = false;
  std::int64_t first_ = 0, begin_ = 0, next_ = 0, last_ = 0;
  double start_ = 0, seconds_ = 0;
  std::vector<double> rates_, products_;  // of each part
};

/// The run that the command line asks for.
TrainRequest resolve_bench(const TrainBenchOptions& options, std::int64_t steps) {
  TrainOptions train;
  train.task = options.task;
  train.preset = options.preset;
  train.threads = options.threads;
  train.device = options.device;
  train.envs = options.envs;
  train.steps = std::to_string(steps);
  train.settings = options.settings;
  train.out = "none";
  if (!options.precision.empty()) {
    read_precision(options.precision, resolve_device(options.device));
    train.settings.push_back("planner.precision=" + options.precision);
  }
  TrainRequest request = resolve(train);
  request.config.trainer.eval_interval = 0;
  return request;
}

/// The warm-up, `given` or by itself. Steps that do not learn yet would pass for fast ones.
std::int64_t warmup_of(const Config& config, std::int64_t given) {
  const std::int64_t starts = config.trainer.learning_starts;
  if (given > 0 && given < starts)
    throw UsageError("--warmup: " + std::to_string(given) +
                     " is less than trainer.learning_starts " + std::to_string(starts) +
                     ": steps without updates would be timed");
  return given > 0 ? given : std::max(kWarmup, starts);
}

std::string as_text(const Json& result) {
  const std::string steps =
      text("%s, preset %s, %s on %s, %d threads, %d environments: %.1f steps/s\n",
           result["task"].get<std::string>().c_str(), result["preset"].get<std::string>().c_str(),
           result["precision"].get<std::string>().c_str(),
           result["device"].get<std::string>().c_str(), result["threads"].get<int>(),
           result["envs"].get<int>(), result["steps_per_second"].get<double>());
  const double gflop = result["flops_per_step"].get<double>() * 1e-9;
  if (!result.contains("share")) return steps + text("%.3f GFLOP a step\n", gflop);
  return steps + text("%.3f GFLOP a step: %.2f of a plain matrix product (%.1f GFLOP/s, %s)\n",
                      gflop, result["share"].get<double>(), result["matrix_gflops"].get<double>(),
                      result["matrix"]["by"].get<std::string>().c_str());
}

int run_bench_train(const TrainBenchOptions& options) {
  if (options.task.empty())
    throw UsageError("bench train: no TASK given; softmpc tasks lists them");
  const auto count = [](const char* name, const std::string& value, std::int64_t otherwise) {
    return value.empty() ? otherwise : whole_number(name, value, 1, std::int64_t{1} << 32);
  };
  const std::int64_t steps = count("--steps", options.steps, kSteps);
  const std::int64_t given = count("--warmup", options.warmup, 0);
  TrainRequest request = resolve_bench(options, (given > 0 ? given : kWarmup) + steps);
  Config& config = request.config;
  const std::int64_t warmup = warmup_of(config, given);
  config.trainer.steps = warmup + steps;
  const TaskSpec spec = find_task(request.task).spec(task_options(config.environment));
  ThreadPool pool(config.trainer.threads);
  const bool on_device = config.trainer.device == Device::cuda;
  // the yardstick is the CPU's: it paces the timer, but says nothing of a device
  Yardstick yardstick(pool, on_device ? Precision::float32 : config.planner.precision);
  StepTimer timer(warmup, steps, yardstick);
  train_in_memory(request.task, config, timer);
  const double flops = flops_per_step(config, spec, learned_outputs_of(config, spec));
  Json result = {{"device", to_string(config.trainer.device)},
                 {"task", request.task},
                 {"preset", request.preset},
                 {"steps_per_second", timer.steps_per_second()},
                 {"precision", to_string(config.planner.precision)},
                 {"threads", pool.threads()},
                 {"envs", config.trainer.envs},
                 {"warmup", warmup},
                 {"steps", timer.steps()},
                 {"flops_per_step", flops},
                 {"gflops", timer.steps_per_second() * flops * 1e-9},
                 {"settings", options.settings}};
  if (!on_device) {
    result["matrix_gflops"] = yardstick.rate();
    result["share"] = timer.share(flops);
    result["matrix"] = yardstick.as_json();
  }
  write_result(options.json, result, as_text);
  return 0;
}

}  // namespace

Run add_bench_train(CLI::App& app) {
  auto options = std::make_shared<TrainBenchOptions>();
  add_text(app, "TASK", options->task, "", "a task of softmpc tasks");
  add_text(app, "--preset", options->preset, "P", "settings to start from, 'default' if not given");
  add_text(app, "--steps", options->steps, "N",
           "environment steps to time, " + std::to_string(kSteps) + " if not given");
  add_text(app, "--warmup", options->warmup, "N",
           "steps before that, not timed; if not given " + std::to_string(kWarmup) +
               ", or trainer.learning_starts where that is more");
  add_text(app, "--envs", options->envs, "N", "environments stepped at once (trainer.envs)");
  add_text(app, "--precision", options->precision, "P",
           "planner.precision: float32, bfloat16 or auto; with cuda float16 too, and if not given");
  options->add_device(app);
  options->add_threads(app);
  app.add_option("--set", options->settings, "change one setting; may be repeated")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  options->add_json(app);
  app.footer(std::string(kFooter) + kWorkRule + '\n' + kExample);
  return [options] { return run_bench_train(*options); };
}

}  // namespace softmpc::tools
