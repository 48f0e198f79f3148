// SPDX-License-Identifier: Apache-2.0
// softmpc bench train: environment steps per second of training, and their work.
#include <algorithm>
#include <memory>

#include "bench/bench.h"
#include "bench/bench_problem.h"
#include "program/console.h"
#include "program/statistics.h"
#include "softmpc/error.h"
#include "softmpc/task.h"
#include "train/train_settings.h"

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
before, between and after ten parts of the run. 'flops_per_step' counts the nets' multiplications
and additions for one environment step: online plan, target plans, and three times a forward pass
for each update. 'share' is the median over the parts of steps_per_second * flops_per_step by the
rate of the product; with bfloat16 the planner's dynamics are evaluated in it, all else in float32.

Example: softmpc bench train Hopper --preset paper-gaussian --threads 2 --json)";

/// Work of one evaluation of each net.
struct NetWork {
  double dynamics, critic, policy;
};

NetWork net_work(const Config& c, const TaskSpec& spec) {
  const int inputs = spec.nx + spec.nu;
  // where the reward is learned it is one more output
  const bool reward = c.model.reward == Learned::always ||
                      (c.model.reward == Learned::automatic && !spec.analytic_reward);
  return {net_flops(NetSpec::mlp(inputs, c.model.width, c.model.layers, spec.nx + reward)),
          net_flops(NetSpec::mlp(inputs, c.critic.width, c.critic.layers, 1)),
          net_flops(NetSpec::mlp(spec.nx, c.policy.width, c.policy.layers, spec.nu))};
}

/// One environment step: online plan + target plans + updates (forward and twice that backward).
double flops_per_step(const Config& c, const TaskSpec& spec) {
  const NetWork net = net_work(c, spec);
  const bool simulated = c.model.source == ModelSource::environment;
  const bool residual = c.planner.control_mode == ControlMode::policy_residual;
  const double horizon = c.planner.horizon;
  const double rollout = horizon * (simulated ? 0 : net.dynamics) + net.critic +
                         (residual ? (horizon + 1) * net.policy : 0);
  const double online =
      c.trainer.acting == Acting::planner
          ? static_cast<double>(c.planner.iterations) * c.planner.rollouts * rollout
          : net.policy;
  const double batch = static_cast<double>(c.critic.batch_size) * c.critic.updates_per_step;
  const double targets =
      c.targets.source == TargetSource::planner
          ? batch * c.critic.count * c.targets.iterations * c.targets.rollouts * rollout
          : batch * (net.policy + c.critic.count * net.critic);
  const double model = simulated ? 0
                                 : 3 * net.dynamics * c.model.members * c.model.batch_size *
                                       c.model.updates_per_step;
  const bool policy =
      residual || c.targets.source == TargetSource::policy || c.trainer.acting == Acting::policy;
  const double critic = 3 * net.critic * c.critic.count * batch;
  const double actor =
      policy ? 3 * (net.policy + net.critic) * batch / c.policy.update_interval : 0;
  return online + targets + model + critic + actor;
}

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
  const std::int64_t warmup = count("--warmup", options.warmup, kWarmup);
  TrainRequest request = resolve_bench(options, warmup + steps);
  Config& config = request.config;
  const TaskSpec spec = find_task(request.task).spec(task_options(config.environment));
  ThreadPool pool(config.trainer.threads);
  const bool on_device = config.trainer.device == Device::cuda;
  // the yardstick is the CPU's: it paces the timer, but says nothing of a device
  Yardstick yardstick(pool, on_device ? Precision::float32 : config.planner.precision);
  StepTimer timer(warmup, steps, yardstick);
  train_in_memory(request.task, config, timer);
  const double flops = flops_per_step(config, spec);
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
  write_out(options.json ? result.dump() + '\n' : as_text(result));
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
           "steps before that, not timed, " + std::to_string(kWarmup) + " if not given");
  add_text(app, "--envs", options->envs, "N", "environments stepped at once (trainer.envs)");
  add_text(app, "--precision", options->precision, "P",
           "planner.precision: float32, bfloat16 or auto; with cuda float16 too");
  options->add_device(app);
  options->add_threads(app);
  app.add_option("--set", options->settings, "change one setting; may be repeated")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  options->add_json(app);
  app.footer(kFooter);
  return [options] { return run_bench_train(*options); };
}

}  // namespace softmpc::tools
