// SPDX-License-Identifier: Apache-2.0
// softmpc bench diff-drive: plans with analytic models, in the setting of a published comparison.
#include <algorithm>
#include <memory>

#include "bench/bench.h"
#include "bench/bench_device.h"
#include "diff_drive/diff_drive.h"
#include "program/console.h"
#include "program/gpu_device.h"
#include "softmpc/error.h"
#include "softmpc/planner.h"

namespace softmpc::tools {
namespace {

using tasks::DiffDrive;

constexpr double kSeconds = 1;
constexpr int kHorizon = 100;
constexpr float kGoal[] = {4, 4};
constexpr float kStart[] = {-4, -4, 0.7f};

struct DiffDriveOptions : BenchOptions {
  std::string rollouts = "128,1024,2048,8192,16384";
};

constexpr const char* kFooter =
    R"(A differential drive (3 states, 2 controls) on a cost map of 110 x 110 cells of 0.1 m: horizon
100, dt 0.02 s, temperature 1, one iteration, cost: distance to the goal and the map. The setting of
the comparison in arXiv 2409.07563, whose times are for one whole plan, as these are. Model, reward
and terminal value are tasks/diff_drive, the example of own models.)";

/// Planner, models and results; solve() is one tick of a controller.
class DrivePlanner {
 public:
  /// Plans on `device`, on the CPU where it is null.
  DrivePlanner(int rollouts, ThreadPool& pool, const std::shared_ptr<cuda::Device>& device)
      : map_(tasks::diff_drive_room(cells_)),
        reward_(map_, kGoal[0], kGoal[1]),
        value_(kGoal[0], kGoal[1]),
        plan_(static_cast<std::size_t>(kHorizon + 1) * DiffDrive::nu) {
    const ProblemShape shape = {DiffDrive::nx,
                                DiffDrive::nu,
                                {DiffDrive::min_speed, -DiffDrive::max_turn},
                                {DiffDrive::max_speed, DiffDrive::max_turn},
                                1};
    const double start = now();
    cuda::DeviceOptions on;
    on.device = device;
    planner_ =
        make_planner(config(rollouts), shape, {&dynamics_, &reward_, &value_},
                     {.device = device ? Device::cuda : Device::cpu, .pool = &pool, .cuda = &on});
    create_seconds_ = now() - start;
  }

  void solve() {
    PlanBatch batch;
    batch.problems = 1;
    batch.observation = kStart;
    batch.plan = plan_;
    batch.action = action_;
    batch.value = {&soft_value_, 1};
    batch.status = {&status_, 1};
    planner_->shift(plan_);
    planner_->solve({1, solves_++}, batch);
  }
  PlanStatus status() const { return status_; }
  double value() const { return soft_value_; }
  std::string device_name() const { return cuda::diagnostics(*planner_).device; }

  void add_device_results(Json& result, const Timed& timed, double seconds) {
    if (planner_->device() == "cpu") return;
    add_device_time(result, timed, *planner_, seconds);
    add_diagnostics(result, *planner_, create_seconds_);
  }

 private:
  static PlannerConfig config(int rollouts) {
    PlannerConfig c;
    c.rollouts = rollouts;
    c.horizon = kHorizon;
    c.temperature = 1;
    c.variance = {0.04, 0.16};
    c.gamma = 1;
    return c;
  }

  std::vector<float> cells_;
  tasks::Costmap map_;
  tasks::DiffDriveDynamics dynamics_;
  tasks::DiffDriveReward reward_;
  tasks::DiffDriveValue value_;
  std::unique_ptr<Planner> planner_;
  double create_seconds_ = 0;
  std::vector<float> plan_, action_ = std::vector<float>(DiffDrive::nu);
  double soft_value_ = 0;
  PlanStatus status_ = PlanStatus::ok;
  std::uint32_t solves_ = 0;
};

std::string as_text(const Json& result) {
  const bool cuda = result["device"] == "cuda";
  std::vector<std::vector<std::string>> rows = {
      {"rollouts", "p50", "p90", "p99", "p99.9", "max", "plans", "model steps/s"}};
  if (cuda) rows[0].insert(rows[0].end(), {"device p50", "device in a row", "path"});
  for (const Json& c : result["cases"]) {
    std::vector<std::string> row = {c["rollouts"].dump()};
    for (const auto& [key, value] : c["time_us"].items()) {
      row.push_back(time_text(value.get<double>()));
    }
    row.push_back(c["plans"].dump());
    row.push_back(text("%.3g", c["evals_per_second"].get<double>()));
    if (cuda) {
      row.push_back(time_text(c["device_latency_us"]["p50"].get<double>()));
      row.push_back(time_text(c["device_us"]["median"].get<double>()));
      row.push_back(c["path"]);
    }
    rows.push_back(row);
  }
  if (cuda) return table(rows) + "\n" + result["device_name"].get<std::string>() + "\n";
  return table(rows) + text("\nthreads: %d\n", result["threads"].get<int>());
}

int run_diff_drive(const DiffDriveOptions& options) {
  const Device device = resolve_device(options.device);
  const Budget budget = options.budget(kSeconds);
  const std::vector<int> rollouts = whole_numbers("--rollouts", options.rollouts, 1 << 20);
  const auto cuda = device == Device::cuda ? cuda_device() : nullptr;
  ThreadPool pool(cuda ? 1 : options.thread_count());
  std::vector<std::unique_ptr<DrivePlanner>> planners;
  std::vector<Timed> timed;
  for (const int k : rollouts) {
    planners.push_back(std::make_unique<DrivePlanner>(k, pool, cuda));
    DrivePlanner* planner = planners.back().get();
    const double rollouts_of = k;
    timed.push_back({[planner] { planner->solve(); }, {rollouts_of * kHorizon, rollouts_of, 0}});
  }
  const std::vector<Timing> timings = time_cases(timed, nullptr, budget);
  Json cases = Json::array();
  for (std::size_t i = 0; i < timed.size(); ++i) {
    if (planners[i]->status() != PlanStatus::ok) {
      throw Error(std::string("bench diff-drive: a plan has status ") +
                  to_string(planners[i]->status()));
    }
    Json result = {{"rollouts", rollouts[i]}, {"horizon", kHorizon}};
    add_timing(result, timed[i], timings[i], nullptr);
    result["last_value"] = planners[i]->value();
    planners[i]->add_device_results(result, timed[i], budget.seconds);
    cases.push_back(std::move(result));
  }
  Json result = {{"device", to_string(device)}, {"precision", "float32"}};
  if (cuda)
    result["device_name"] = planners.front()->device_name();
  else
    result["threads"] = pool.threads();
  result["model"] = "diff-drive";
  result["cases"] = cases;
  write_result(options.json, result, as_text);
  return 0;
}

}  // namespace

Run add_bench_diff_drive(CLI::App& app) {
  auto options = std::make_shared<DiffDriveOptions>();
  add_text(app, "--rollouts", options->rollouts, "K,K,..",
           "rollouts of each case, " + options->rollouts + " if not given");
  options->add_device(app);
  options->add_threads(app);
  options->add_budget(app, text("%g", kSeconds));
  options->add_json(app);
  app.footer(kFooter);
  return [options] { return run_diff_drive(*options); };
}

}  // namespace softmpc::tools
