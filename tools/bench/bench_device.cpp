// SPDX-License-Identifier: Apache-2.0
#include "bench/bench_device.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "program/statistics.h"
#include "softmpc/hd/order.h"

namespace softmpc::tools {
namespace {

constexpr int kBlocks = 20, kReplays = 100;
constexpr double kMostSingles = 1000;
constexpr int kStepsBeside = 1 << 19;  // model steps of the CPU's part of agreement()

double quantile(const std::vector<double>& sorted, double q) {
  const auto at = [&](int i) { return sorted[static_cast<std::size_t>(i)]; };
  return hd::quantile(at, static_cast<int>(sorted.size()), q);
}

/// The part of a case that a CPU does in a second or so. Draws are those of problem and rollout, so
/// that it finds the same S with fewer of either.
PlanCase beside(PlanCase c) {
  c.rollouts = std::min(c.rollouts, std::max(1, kStepsBeside / c.horizon));
  c.problems = std::clamp(kStepsBeside / (c.rollouts * c.horizon), 1, c.problems);
  return c;
}

/// `count` of the numbers 0 to `all` - 1, evenly spread, both ends among them from two on.
std::vector<std::uint32_t> spread(int count, int all) {
  std::vector<std::uint32_t> chosen(static_cast<std::size_t>(count), 0);
  for (std::size_t i = 1; i < chosen.size(); ++i)
    chosen[i] =
        static_cast<std::uint32_t>(i * static_cast<std::size_t>(all - 1) / (chosen.size() - 1));
  return chosen;
}

/// S of all rollouts [ids, K] of one solve from plans of zeros; `states` [.., nx] are those of all
/// problems.
std::vector<float> costs_of(Planner& planner, std::span<const float> states,
                            std::span<const std::uint32_t> ids) {
  const auto nx = static_cast<std::size_t>(planner.shape().nx);
  std::vector<float> own, plan(ids.size() * planner.plan_size()),
      action(ids.size() * static_cast<std::size_t>(planner.shape().nu));
  for (const std::uint32_t id : ids) {
    const auto state = states.subspan(id * nx, nx);
    own.insert(own.end(), state.begin(), state.end());
  }
  std::vector<double> value(ids.size());
  PlanBatch batch;
  batch.problems = static_cast<int>(ids.size());
  batch.problem_id = ids;
  batch.observation = own;
  batch.plan = plan;
  batch.action = action;
  batch.value = value;
  PlanTrace trace;
  planner.solve(bench_key(0), batch, &trace);
  return std::move(trace.cost);
}

}  // namespace

DeviceProblem::DeviceProblem(const PlanCase& c, Precision precision, cuda::Path path,
                             const std::shared_ptr<cuda::Device>& device)
    : case_(c),
      nets_(random_nets(c)),
      reward_(bench_reward(c.nx, c.nu)),
      observation_(bench_observations(c, kSets)) {
  const double start = now();
  const MlpDynamics dynamics(nets_.members, c.nx, c.nu);
  const MlpValue value(nets_.critic, c.nx, c.nu);
  cuda::DeviceOptions on;
  on.path = path;
  on.device = device;
  planner_ =
      make_planner(bench_config(c, precision), bench_shape(c),
                   {&dynamics, reward_.model.get(), &value}, {.device = Device::cuda, .cuda = &on});
  create_seconds_ = now() - start;
  const auto nu = static_cast<std::size_t>(c.nu), problems = static_cast<std::size_t>(c.problems);
  plan_.resize(kSets * problems * static_cast<std::size_t>(c.horizon + 1) * nu);
  action_.resize(problems * nu);
  soft_value_.resize(problems);
  status_.resize(problems);
}

void DeviceProblem::solve() {
  const std::size_t set = solves_ % kSets;
  const std::size_t states = observation_.size() / kSets, plans = plan_.size() / kSets;
  PlanBatch batch;
  batch.problems = case_.problems;
  batch.observation = std::span(observation_).subspan(set * states, states);
  batch.plan = std::span(plan_).subspan(set * plans, plans);
  batch.action = action_;
  batch.value = soft_value_;
  batch.status = status_;
  if (case_.problems == 1) planner_->shift(batch.plan);  // a controller's tick, as on the CPU
  planner_->solve(bench_key(solves_++), batch);
}

Timed DeviceProblem::timed() {
  return {[this] { solve(); }, solve_work(case_)};
}

void DeviceProblem::add_device_results(Json& result, double seconds) {
  add_device_time(result, timed(), *planner_, seconds);
  add_diagnostics(result, *planner_, create_seconds_);
  result["agreement"] = agreement();
}

Json DeviceProblem::agreement() {
  const PlanCase few = beside(case_);
  const std::vector<std::uint32_t> all = spread(case_.problems, case_.problems),
                                   chosen = spread(few.problems, case_.problems);
  const std::vector<float> on_device = costs_of(*planner_, observation_, all);
  const MlpDynamics dynamics(nets_.members, few.nx, few.nu);
  const MlpValue value(nets_.critic, few.nx, few.nu);
  const auto reference = make_planner(bench_config(few, Precision::float32), bench_shape(few),
                                      {&dynamics, reward_.model.get(), &value});
  const std::vector<float> on_cpu = costs_of(*reference, observation_, chosen);
  const double temperature = reference->config().temperature;
  const auto fewer = static_cast<std::size_t>(few.rollouts);
  const auto rollouts = static_cast<std::size_t>(case_.rollouts);
  std::vector<double> apart;
  for (std::size_t i = 0; i < chosen.size(); ++i)
    for (std::size_t k = 0; k < fewer; ++k)
      apart.push_back(
          std::abs(double{on_device[chosen[i] * rollouts + k]} - on_cpu[i * fewer + k]) /
          temperature);
  std::sort(apart.begin(), apart.end());
  return {{"with", "cpu, float32"},       {"problems", few.problems},
          {"rollouts", few.rollouts},     {"median", quantile(apart, 0.5)},
          {"p99", quantile(apart, 0.99)}, {"largest", apart.back()}};
}

void add_device_time(Json& result, const Timed& timed, Planner& planner, double seconds) {
  timed.run();
  const double start = now();
  const double one = std::max(cuda::device_seconds(planner, 1), 1e-9);
  timed.run();
  // a quarter of the time, the host's part of it included
  const auto singles =
      static_cast<int>(std::clamp(seconds / (4 * (now() - start)), 3.0, kMostSingles));
  Timing alone;
  for (int i = 0; i < singles; ++i) {
    timed.run();
    alone.us.push_back(cuda::device_seconds(planner, 1) * 1e6);
  }
  std::sort(alone.us.begin(), alone.us.end());
  result["device_latency_us"] = time_us(alone);
  result["device_latency_us"]["plans"] = singles;
  const int replays =
      static_cast<int>(std::clamp(seconds / (kBlocks * one), 1.0, static_cast<double>(kReplays)));
  std::vector<double> us;
  for (int block = 0; block < kBlocks; ++block) {
    timed.run();
    us.push_back(cuda::device_seconds(planner, replays) * 1e6);
  }
  std::sort(us.begin(), us.end());
  const double median = quantile(us, 0.5);
  result["device_us"] = {{"median", median},          {"q25", quantile(us, 0.25)},
                         {"q75", quantile(us, 0.75)}, {"least", us.front()},
                         {"blocks", kBlocks},         {"replays", replays}};
  const double mean_seconds = mean(us) * 1e-6;
  result["device_evals_per_second"] = timed.work.evals / mean_seconds;
  result["device_values_per_second"] = timed.work.values / mean_seconds;
  if (timed.work.flops > 0) result["device_gflops"] = timed.work.flops / mean_seconds * 1e-9;
}

void add_diagnostics(Json& result, const Planner& planner, double create_seconds) {
  const cuda::DeviceDiagnostics d = cuda::diagnostics(planner);
  result["path"] = to_string(d.path);
  result["why"] = d.why;
  result["registers"] = d.registers;
  result["shared_bytes"] = d.shared_bytes;
  result["blocks"] = d.blocks;
  result["kernels"] = {{"carried", d.carried}, {"cached", d.cached}, {"compiled", d.compiled}};
  if (!d.not_kept.empty()) result["kernels"]["not_kept"] = d.not_kept;
  result["compile_seconds"] = d.compile_seconds;
  result["load_seconds"] = d.load_seconds;
  result["create_seconds"] = create_seconds;
}

}  // namespace softmpc::tools
