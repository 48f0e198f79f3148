// SPDX-License-Identifier: Apache-2.0
// DevicePlanner: copies to and from the device around a Solver, as one recorded graph for each
// number of problems.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "backend.h"
#include "plan/device_planner.h"
#include "plan/net.h"
#include "plan/solver.h"
#include "planner_inputs.h"
#include "recent_slowest.h"
#include "runtime/device.h"
#include "softmpc/cuda.h"
#include "softmpc/error.h"
#include "softmpc/hd/philox.h"

namespace softmpc::cuda {
namespace {

/// Arrays of a batch one behind the other, so that one copy brings all of them.
struct InputBlock {
  std::size_t observation, id, plan, bytes;
  InputBlock(int problems, int nx, std::size_t plan_floats) {
    const std::size_t b = problems;
    observation = sizeof(SolveHeader);
    id = observation + b * nx * sizeof(float);
    plan = id + b * sizeof(std::uint32_t);
    bytes = plan + b * plan_floats * sizeof(float);
  }
};
struct OutputBlock {
  std::size_t plan, action, bytes;  // results first
  OutputBlock(int problems, int nu, std::size_t plan_floats) {
    const std::size_t b = problems;
    plan = b * sizeof(ProblemResult);
    action = plan + b * plan_floats * sizeof(float);
    bytes = action + b * nu * sizeof(float);
  }
};

template <class T>
T* at(const Memory& memory, std::size_t offset) {
  return reinterpret_cast<T*>(memory.as<char>() + offset);
}

bool analytic(const DeviceModels& m) { return m.dynamics != nullptr || m.value != nullptr; }

void check_critics(const DeviceModels& m) {
  m.critics->validate("critics");
  if (m.critic < 0 || m.critic >= m.critics->stack)
    throw Error("critics: there is no critic " + std::to_string(m.critic));
}

/// What a device asks of analytic models beside their rules.
void check_analytic(const PlannerConfig& config, const DeviceModels& m) {
  if (!m.dynamics) throw Error(std::string("planner: ") + kFormulaAsValue);
  if (m.members || m.outputs.reward || m.outputs.termination)
    throw Error("planner: analytic dynamics take the place of members; give one of them");
  if (!m.value == !m.critics)
    throw Error("planner: analytic dynamics need one terminal value, a formula or critics");
  if (m.critics) check_critics(m);
  if (m.dynamics->members() != 1)
    throw Error("planner: analytic dynamics on a device have one member, not " +
                std::to_string(m.dynamics->members()));
  if (m.dynamics->predicts_reward() || m.dynamics->predicts_termination())
    throw Error(
        "planner: analytic dynamics on a device predict the state alone; reward and "
        "termination come from the reward model");
  if (config.control_mode == ControlMode::policy_residual)
    throw UsageError(
        "planner: control_mode policy_residual needs networks on a device, not "
        "analytic dynamics");
  // beside critics a precision is that of the members they were trained with, which nobody asks
  if (!m.critics && config.precision != Precision::float32 &&
      config.precision != Precision::automatic)
    throw UsageError("planner: analytic models compute in float32; set planner.precision to it");
}

void check_networks(const DeviceModels& m) {
  if (!m.members || !m.critics) throw Error("planner: members and critics must be given");
  m.members->validate("members");
  check_critics(m);
  if (m.policy) m.policy->validate("policy");
}

void check_sizes(const DeviceModels& m, const ProblemShape& s) {
  const std::string sizes =
      " do not fit nx " + std::to_string(s.nx) + ", nu " + std::to_string(s.nu);
  const int outputs = s.nx + m.outputs.reward + m.outputs.termination;
  if (m.members && (m.members->inputs() != s.nx + s.nu || m.members->outputs() < outputs))
    throw Error("members: inputs and outputs" + sizes);
  if (m.critics && (m.critics->inputs() != s.nx + s.nu || m.critics->outputs() != 1))
    throw Error("critics: inputs and outputs" + sizes);
  if (m.policy &&
      (m.policy->stack != 1 || m.policy->inputs() != s.nx || m.policy->outputs() != s.nu))
    throw Error("policy: inputs and outputs" + sizes);
}

}  // namespace

struct DevicePlanner::Impl {
  std::shared_ptr<Device> device;
  PlannerConfig config;
  ProblemShape shape;
  const PlannerConstants* constants = nullptr;  // the planner's
  DeviceModels models;                          // reward and critic; networks are copied
  std::size_t plan_floats;
  std::unique_ptr<DeviceStack> dynamics, critics, policy;
  std::unique_ptr<Solver> solver, traced;
  std::unique_ptr<Memory> input, output, host_input, host_output;
  std::map<int, std::unique_ptr<Graph>> graphs;  // by number of problems
  std::vector<std::uint32_t> default_id;
  std::vector<float> parameters;  // of the reward; empty: its own
  // whether the device has not seen these yet
  bool new_bounds = false, new_parameters = false;
  int last_problems = 0;
  RecentSlowest solves;  // under deadlines

  SolverNets nets() const {
    return {dynamics.get(), critics.get(),   policy.get(), models.outputs,
            models.reward,  models.dynamics, models.value};
  }
  void make_stacks(const DeviceModels& given, const DeviceOptions& options);
  void upload(const DeviceModels& given);
  void catch_up();
  int members() const { return dynamics ? dynamics->stack() : 1; }
  SolveArrays arrays(int problems) const;
  void fill(SolveKey key, const PlanBatch& batch);
  void run(SolveKey key, const PlanBatch& batch, PlanTrace* trace);
  bool run_in_time(SolveKey key, const PlanBatch& batch);
  void hand_out(const PlanBatch& batch) const;
  const Graph& graph(int problems);
  void trace(SolveKey key, const PlanBatch& batch, PlanTrace& trace);
  std::vector<float> trace_noise(SolveKey key, const PlanBatch& batch, int iteration,
                                 const PlanTrace& trace) const;
  void record(const PlanBatch& batch, const Solver& solved, int iteration, PlanTrace& trace);
};

DevicePlanner::DevicePlanner(const PlannerConfig& config, const ProblemShape& shape,
                             const DeviceModels& models, DeviceOptions options,
                             std::shared_ptr<Device> device)
    : Planner(config, shape), impl_(std::make_unique<Impl>()) {
  if (analytic(models))
    check_analytic(config, models);
  else
    check_networks(models);
  check_sizes(models, shape);
  check_models(config,
               {.dynamics_and_value = true,
                .members = models.members ? models.members->stack : 1,
                .analytic_reward = models.reward != nullptr,
                .learned_reward = models.outputs.reward,
                .policy = models.policy != nullptr,
                .termination = models.outputs.termination ||
                               (models.reward != nullptr && models.reward->has_termination())});
  Impl& p = *impl_;
  if (!device) device = options.device;
  p.device = device ? std::move(device) : open_device();
  p.config = config;
  p.shape = shape;
  p.constants = &constants();
  p.models = models;
  p.models.members = p.models.critics = p.models.policy = nullptr;
  p.plan_floats = static_cast<std::size_t>(config.horizon + 1) * shape.nu;
  p.make_stacks(models, options);
  p.solver = std::make_unique<Solver>(*p.device, config, shape, p.nets(), options);
  const std::size_t in = InputBlock(shape.max_problems, shape.nx, p.plan_floats).bytes;
  const std::size_t out = OutputBlock(shape.max_problems, shape.nu, p.plan_floats).bytes;
  p.input = p.device->allocate(in);
  p.output = p.device->allocate(out);
  p.host_input = p.device->allocate_host(in);
  p.host_output = p.device->allocate_host(out);
  for (int b = 0; b < shape.max_problems; ++b)
    p.default_id.push_back(static_cast<std::uint32_t>(b));
  p.upload(models);  // the solver has uploaded rules
  p.parameters.reserve(parameter_count(models.reward));
}

void DevicePlanner::Impl::make_stacks(const DeviceModels& given, const DeviceOptions& options) {
  const Number number = given.dynamics ? Number::f32 : Solver::number(config.precision);
  if (given.critics)
    critics = std::make_unique<DeviceStack>(*device, given.critics->stack, given.critics->spec,
                                            number, critic_operands(number, options));
  if (given.dynamics) return;
  dynamics = std::make_unique<DeviceStack>(
      *device, given.members->stack, given.members->spec, number, member_operands(number, options),
      shape.nx + given.outputs.reward + given.outputs.termination);
  if (given.policy)
    policy = std::make_unique<DeviceStack>(*device, 1, given.policy->spec, number,
                                           member_operands(number, options));
}

DevicePlanner::~DevicePlanner() = default;
DeviceDiagnostics DevicePlanner::diagnostics() const { return impl_->solver->diagnostics(); }

void DevicePlanner::update(const DeviceModels& models) {
  Impl& p = *impl_;
  if (!p.models.dynamics)
    check_networks(models);
  else if (models.members)
    throw Error("planner: it was created with analytic dynamics; update() has members");
  else if (models.critics)
    check_critics(models);
  if (models.critics && p.models.value)
    throw Error("planner: it was created with an analytic terminal value; update() has critics");
  if (models.value && p.critics)
    throw Error("planner: it was created with critics; update() has an analytic terminal value");
  p.upload(models);
  for (Solver* solver : {p.solver.get(), p.traced.get()})
    if (solver) solver->update_rules(models.reward, models.dynamics, models.value);
  p.new_parameters |= !p.parameters.empty();  // which the rules' own have overwritten
  if (models.reward) p.models.reward = models.reward;
  if (models.dynamics) p.models.dynamics = models.dynamics;
  if (models.value) p.models.value = models.value;
}

bool DevicePlanner::set_bounds(std::span<const float> low, std::span<const float> high) noexcept {
  const bool same =
      std::ranges::equal(low, constants().low) && std::ranges::equal(high, constants().high);
  if (!Planner::set_bounds(low, high)) return false;
  impl_->new_bounds |= !same;
  return true;
}

bool DevicePlanner::set_parameters(std::span<const float> parameters) noexcept {
  Impl& p = *impl_;
  if (!parameters.empty() && !p.solver->fits_reward(parameters.size())) return false;
  const bool same = std::ranges::equal(parameters, p.parameters);
  if (!take_parameters(p.models.reward, parameters, p.parameters)) return false;
  p.new_parameters |= !same;
  return true;
}

/// Brings bounds and parameters to the device that were set since the last solve.
void DevicePlanner::Impl::catch_up() {
  if (new_bounds) {
    if (config.prior == Prior::uniform) graphs.clear();  // its constant is in the recorded jobs
    for (Solver* s : {solver.get(), traced.get()})
      if (s) s->update_bounds(*constants);
    new_bounds = false;
  }
  if (!new_parameters) return;
  for (Solver* s : {solver.get(), traced.get()}) {
    if (!s) continue;
    if (parameters.empty())
      s->update_rules(models.reward, nullptr, nullptr);
    else
      s->update_parameters(parameters);
  }
  new_parameters = false;
}

void DevicePlanner::Impl::upload(const DeviceModels& given) {
  if (dynamics && given.members) dynamics->upload(*given.members);
  if (critics && given.critics) critics->upload(*given.critics);
  if (policy && given.policy) policy->upload(*given.policy);
}

SolveArrays DevicePlanner::Impl::arrays(int problems) const {
  const InputBlock in(problems, shape.nx, plan_floats);
  const OutputBlock out(problems, shape.nu, plan_floats);
  SolveArrays a;
  a.header = input->as<SolveHeader>();
  a.observation = at<float>(*input, in.observation);
  a.problem_id = at<std::uint32_t>(*input, in.id);
  a.plan = at<float>(*input, in.plan);
  a.result = output->as<ProblemResult>();
  a.refined = at<float>(*output, out.plan);
  a.action = at<float>(*output, out.action);
  return a;
}

void DevicePlanner::Impl::fill(SolveKey key, const PlanBatch& batch) {
  const InputBlock in(batch.problems, shape.nx, plan_floats);
  *host_input->as<SolveHeader>() = {key.seed, key.solve, 0};
  std::ranges::copy(batch.observation, at<float>(*host_input, in.observation));
  std::ranges::copy(batch.plan, at<float>(*host_input, in.plan));
  const std::uint32_t* id = batch.problem_id.empty() ? default_id.data() : batch.problem_id.data();
  std::copy_n(id, batch.problems, at<std::uint32_t>(*host_input, in.id));
}

void DevicePlanner::Impl::hand_out(const PlanBatch& batch) const {
  const OutputBlock out(batch.problems, shape.nu, plan_floats);
  std::copy_n(at<float>(*host_output, out.plan), batch.plan.size(), batch.plan.begin());
  std::copy_n(at<float>(*host_output, out.action), batch.action.size(), batch.action.begin());
  for (int b = 0; b < batch.problems; ++b) {
    const ProblemResult& r = host_output->as<ProblemResult>()[b];
    batch.value[b] = r.value;
    if (!batch.effective_samples.empty()) batch.effective_samples[b] = r.effective_samples;
    if (!batch.valid_share.empty()) batch.valid_share[b] = r.valid_share;
    if (!batch.status.empty()) batch.status[b] = static_cast<PlanStatus>(r.status);
  }
}

const Graph& DevicePlanner::Impl::graph(int problems) {
  constexpr std::size_t kMostGraphs = 64;
  auto found = graphs.find(problems);
  if (found != graphs.end()) return *found->second;
  if (graphs.size() == kMostGraphs) graphs.clear();
  const std::size_t in = InputBlock(problems, shape.nx, plan_floats).bytes;
  const std::size_t out = OutputBlock(problems, shape.nu, plan_floats).bytes;
  auto recorded = device->record([&] {
    device->upload(input->data(), host_input->data(), in);
    solver->launch(arrays(problems), problems, models.critic);
    device->download(host_output->data(), output->data(), out);
  });
  return *graphs.emplace(problems, std::move(recorded)).first->second;
}

void DevicePlanner::Impl::run(SolveKey key, const PlanBatch& batch, PlanTrace* given) {
  fill(key, batch);
  if (given) {
    trace(key, batch, *given);
  } else {
    device->replay(graph(batch.problems));
    device->synchronise();
  }
  hand_out(batch);
}

/// A launch cannot be stopped: it begins where one as slow as the slowest of late is in time; false
/// if none did. Where expectations alone kept it, it counts as done in no time, so that one slow
/// solve does not keep all later ones.
bool DevicePlanner::Impl::run_in_time(SolveKey key, const PlanBatch& batch) {
  using Clock = SolveBudget::Clock;
  const Clock::time_point begin = Clock::now(), deadline = batch.budget.deadline;
  if (begin + solves.slowest() > deadline) {
    if (begin < deadline) solves.add({});
    return false;
  }
  const bool recorded = graphs.contains(batch.problems);  // else this solve alone records it
  run(key, batch, nullptr);
  if (recorded) solves.add(Clock::now() - begin);
  return true;
}

void DevicePlanner::solve(SolveKey key, const PlanBatch& batch, PlanTrace* trace) {
  Impl& p = *impl_;
  check_batch(p.config, p.shape, batch);
  if (part_of(p.config, batch.budget) != whole_solve(p.config))
    throw Error("planner solve: a device computes whole solves; budget has limits of one");
  if (trace) check_trace(p.config, p.shape, batch, *trace, p.members());
  if (trace && trace->rollouts)
    throw Error("planner solve: a device keeps no rollouts for a trace; the CPU does");
  p.last_problems = batch.problems;
  p.catch_up();
  if (!has_deadline(batch.budget))
    p.run(key, batch, trace);
  else if (!p.run_in_time(key, batch))
    return hand_out_no_time(constants(), batch);
  if (batch.done) *batch.done = whole_solve(p.config);
}

double DevicePlanner::device_seconds(int repeats) {
  Impl& p = *impl_;
  if (p.last_problems == 0 || repeats < 1)
    throw Error("planner: device_seconds needs a solve before it and at least one repeat");
  const Graph& graph = p.graph(p.last_problems);
  const double seconds = p.device->time([&] {
    for (int i = 0; i < repeats; ++i) p.device->replay(graph);
  });
  return seconds / repeats;
}

/// The noise of one iteration: given, or drawn as the kernels draw it.
std::vector<float> DevicePlanner::Impl::trace_noise(SolveKey key, const PlanBatch& batch,
                                                    int iteration, const PlanTrace& trace) const {
  const std::size_t count =
      static_cast<std::size_t>(batch.problems) * config.rollouts * plan_floats;
  if (!trace.noise.empty()) {
    const auto from = trace.noise.begin() + static_cast<std::ptrdiff_t>(iteration * count);
    return {from, from + static_cast<std::ptrdiff_t>(count)};
  }
  const std::uint32_t* id = batch.problem_id.empty() ? default_id.data() : batch.problem_id.data();
  std::vector<float> noise(count);
  float* to = noise.data();
  for (int b = 0; b < batch.problems; ++b)
    for (int k = 0; k < config.rollouts; ++k)
      for (int t = 0; t <= config.horizon; ++t, to += shape.nu) {
        for (int i = 0; i < shape.nu; ++i) {
          float n[4];
          hd::normal_block(key.seed, key.solve,
                           hd::draw_word(hd::Stream::noise, iteration, t, i / 4), id[b],
                           static_cast<std::uint32_t>(k), n);
          to[i] = constants->sigma[i] * n[i % 4];
        }
        if (constants->covariance.full())
          hd::correlate<float>(constants->covariance.view(shape.nu), to);
      }
  return noise;
}

void DevicePlanner::Impl::record(const PlanBatch& batch, const Solver& solved, int iteration,
                                 PlanTrace& trace) {
  const auto append = [&](auto& to, const auto* from, std::size_t count) {
    const std::size_t before = to.size();
    to.resize(before + count);
    device->download(to.data() + before, from, count * sizeof(*from));
    device->synchronise();
  };
  const std::size_t lanes = static_cast<std::size_t>(batch.problems) * config.rollouts;
  const SolveArrays a = arrays(batch.problems);
  append(trace.cost, solved.cost(), lanes);
  append(trace.valid, solved.valid(), lanes);
  append(trace.plan, solved.plan_after(a, iteration), batch.plan.size());
  std::vector<ProblemResult> results;
  append(results, a.result, batch.problems);
  for (const ProblemResult& r : results) {
    trace.value.push_back(r.value);
    trace.effective_samples.push_back(r.effective_samples);
  }
}

void DevicePlanner::Impl::trace(SolveKey key, const PlanBatch& batch, PlanTrace& trace) {
  const bool given = !trace.noise.empty() || !trace.member.empty();
  if (given && !traced) {
    traced = std::make_unique<Solver>(*device, config, shape, nets(),
                                      DeviceOptions{.path = solver->diagnostics().path}, true);
    traced->update_bounds(*constants);
    traced->update_parameters(parameters);
  }
  Solver& used = given ? *traced : *solver;
  SolveArrays a = arrays(batch.problems);
  device->upload(input->data(), host_input->data(),
                 InputBlock(batch.problems, shape.nx, plan_floats).bytes);
  std::unique_ptr<Memory> noise, member;
  if (given)
    noise = device->allocate(static_cast<std::size_t>(batch.problems) * config.rollouts *
                             plan_floats * sizeof(float));
  if (!trace.member.empty()) member = device->allocate(config.horizon * sizeof(int));
  for (int iteration = 0; iteration < config.iterations; ++iteration) {
    if (noise) {
      const std::vector<float> eps = trace_noise(key, batch, iteration, trace);
      device->upload(noise->data(), eps.data(), noise->size());
      device->synchronise();
      a.fixed_noise = noise->as<float>();
    }
    if (member) {
      device->upload(member->data(), trace.member.data() + iteration * config.horizon,
                     member->size());
      a.fixed_member = member->as<int>();
    }
    used.launch_iteration(a, batch.problems, models.critic, iteration);
    device->synchronise();
    record(batch, used, iteration, trace);
  }
  device->download(host_output->data(), output->data(),
                   OutputBlock(batch.problems, shape.nu, plan_floats).bytes);
  device->synchronise();
}

}  // namespace softmpc::cuda
