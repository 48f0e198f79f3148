// SPDX-License-Identifier: Apache-2.0
// Repeats a recorded plan with the recorded noise: costs, values, plans, which rollouts count.
#include "verify/verify_plan.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>

#include "program/console.h"
#include "program/statistics.h"
#include "softmpc/error.h"
#include "softmpc/network.h"
#include "softmpc/planner.h"
#include "softmpc/task.h"

namespace softmpc::tools {
namespace {

constexpr int kMost = 1 << 20;

/// What 16 bit may do to weights and value, in the median.
struct Budget {
  double variation, value;
};
constexpr Budget kFloat16 = {0.02, 5e-4}, kBfloat16 = {0.05, 4e-3};

/// Sizes, as in DESIGN: B problems, K rollouts, H horizon.
struct Sizes {
  std::size_t problems, rollouts, horizon, nx, nu, iterations;
};

/// The recorded iterations, one behind the other.
struct Recording {
  std::vector<float> noise;         // [I, B, K, H+1, nu]
  std::vector<int> member;          // [I, H]
  std::vector<double> plan_in;      // [I, B, H+1, nu]
  std::vector<double> plan_out;     // [I, B, H+1, nu]
  std::vector<double> cost;         // [I, B, K]
  std::vector<double> value;        // [I, B]
  std::vector<std::uint8_t> valid;  // [I, B, K]; empty where every rollout counts
};

struct Tolerances {
  Tolerance cost, value, plan;
};

template <class T>
void append(std::vector<T>& to, const std::vector<T>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

/// The member of a document that names one of `names`; the index of the name.
std::size_t choice(const JsonNode& node, std::initializer_list<const char*> names) {
  const std::string value = node.string();
  std::string known;
  std::size_t index = 0;
  for (const char* name : names) {
    if (value == name) return index;
    known += (known.empty() ? "" : ", ") + std::string(name);
    ++index;
  }
  node.fail("is '" + value.substr(0, 40) + "', must be one of " + known);
}

PlannerConfig read_config(const JsonNode& document, std::size_t nu, std::size_t iterations) {
  PlannerConfig config;
  config.rollouts = document.at("rollouts").integer(1, kMost);
  config.horizon = document.at("horizon").integer(1, kMost);
  config.iterations = static_cast<int>(iterations);
  config.temperature = document.at("temperature").number();
  const JsonNode variance = document.at("variance");
  config.variance = variance.numbers({variance.size() == 1 ? std::size_t{1} : nu});
  config.gamma = document.at("gamma").number();
  config.prior =
      choice(document.at("prior"), {"gaussian", "uniform"}) == 0 ? Prior::gaussian : Prior::uniform;
  constexpr ControlMode kModes[] = {ControlMode::plain, ControlMode::mean_residual,
                                    ControlMode::policy_residual, ControlMode::policy_residual};
  config.control_mode = kModes[choice(document.at("control_mode"),
                                      {"default", "mean_residual", "mu", "policy_residual"})];
  config.handle_terminations = document.at("handle_terminations").boolean();
  return config;
}

/// A stack of networks, each a list of layers {weight [out][in], bias [out]}.
NetWeights read_networks(const std::vector<JsonNode>& stack, std::size_t inputs,
                         std::size_t outputs) {
  const std::size_t layers = stack.front().size();
  if (layers == 0) stack.front().fail("has no layers");
  std::vector<int> sizes = {static_cast<int>(inputs)};
  for (std::size_t l = 0; l < layers; ++l) {
    sizes.push_back(static_cast<int>(stack.front().at(l).at("bias").size()));
    if (sizes.back() == 0) stack.front().at(l).at("bias").fail("is empty");
  }
  if (static_cast<std::size_t>(sizes.back()) != outputs) {
    stack.front()
        .at(layers - 1)
        .at("bias")
        .fail("has " + std::to_string(sizes.back()) + " elements, must have " +
              std::to_string(outputs));
  }
  NetWeights weights = NetWeights::zeros(static_cast<int>(stack.size()), NetSpec::mlp(sizes));
  weights.parameters.clear();
  for (std::size_t l = 0; l < layers; ++l) {
    const auto in = static_cast<std::size_t>(sizes[l]),
               out = static_cast<std::size_t>(sizes[l + 1]);
    for (const JsonNode& network : stack) {
      if (network.size() != layers) {
        network.fail("must have " + std::to_string(layers) +
                     " layers, like the first of the stack");
      }
      append(weights.parameters, network.at(l).at("weight").floats({out, in}));
    }
    for (const JsonNode& network : stack)
      append(weights.parameters, network.at(l).at("bias").floats({out}));
  }
  return weights;
}

Recording read_recording(const JsonNode& iterations, const Sizes& n, std::size_t members,
                         Prior prior) {
  // every rollout counts under the Gaussian prior; files of that kind may leave it out
  const bool valid = prior == Prior::uniform || iterations.at(0).find("valid").has_value();
  Recording recording;
  for (std::size_t i = 0; i < n.iterations; ++i) {
    const JsonNode iteration = iterations.at(i);
    append(recording.noise,
           iteration.at("noise").floats({n.problems, n.rollouts, n.horizon + 1, n.nu}));
    const JsonNode member = iteration.at("member");
    if (member.size() != n.horizon) {
      member.fail("has " + std::to_string(member.size()) + " elements, must have one a step, " +
                  std::to_string(n.horizon));
    }
    for (std::size_t t = 0; t < n.horizon; ++t) {
      recording.member.push_back(member.at(t).integer(0, static_cast<int>(members) - 1));
    }
    append(recording.plan_in, iteration.at("plan_in").numbers({n.problems, n.horizon + 1, n.nu}));
    append(recording.plan_out, iteration.at("plan_out").numbers({n.problems, n.horizon + 1, n.nu}));
    append(recording.cost, iteration.at("cost").numbers({n.problems, n.rollouts}));
    append(recording.value, iteration.at("value").numbers({n.problems}));
    if (valid) {
      append(recording.valid, iteration.at("valid").booleans({n.problems, n.rollouts}));
    }
  }
  return recording;
}

/// Everything that planning borrows, built from the file.
struct Parts {
  std::unique_ptr<RewardModel> reward;
  NetWeights members, critic;
  std::optional<NetWeights> policy;
  ProblemShape shape;
};

Parts read_parts(const JsonNode& document, const PlannerConfig& config, const Task& task,
                 const TaskOptions& options) {
  const TaskSpec spec = task.spec(options);
  const auto nx = static_cast<std::size_t>(spec.nx), nu = static_cast<std::size_t>(spec.nu);
  Parts parts;
  parts.shape = {spec.nx, spec.nu, spec.action_low, spec.action_high,
                 document.at("problems").integer(1, kMost)};
  parts.reward = task.make_reward(options);
  const JsonNode members = document.at("members");
  if (members.size() == 0) members.fail("is empty, must hold at least one network");
  std::vector<JsonNode> stack;
  for (std::size_t i = 0; i < members.size(); ++i) stack.push_back(members.at(i));
  parts.members = read_networks(stack, nx + nu, nx);
  parts.critic = read_networks({document.at("critic")}, nx + nu, 1);
  if (config.control_mode == ControlMode::policy_residual) {
    parts.policy = read_networks({document.at("actor")}, nx, nu);
  }
  return parts;
}

/// Element `i` of an array [I, B, ...] of `per_problem` numbers a problem, as a key in the file.
std::string element(const char* name, std::size_t i, const Sizes& n, std::size_t per_problem) {
  const std::size_t problem = i / per_problem;
  std::string key =
      text("iterations[%zu].%s[%zu]", problem / n.problems, name, problem % n.problems);
  if (per_problem > 1) key += text("[%zu]", i % per_problem);
  return key;
}

template <class T>
void compare_array(VerifyReport& report, const char* name, const std::vector<T>& computed,
                   const std::vector<double>& recorded, Tolerance tolerance, const Sizes& n,
                   std::size_t per_problem) {
  for (std::size_t i = 0; i < recorded.size(); ++i) {
    report.compare(name, static_cast<double>(computed[i]), recorded[i], tolerance,
                   [&] { return element(name, i, n, per_problem); });
  }
}

void compare(const Recording& recording, const PlanTrace& trace, const Sizes& n,
             const Tolerances& tolerances, VerifyReport& report) {
  const std::size_t plan_size = (n.horizon + 1) * n.nu;
  compare_array(report, "cost", trace.cost, recording.cost, tolerances.cost, n, n.rollouts);
  compare_array(report, "value", trace.value, recording.value, tolerances.value, n, 1);
  compare_array(report, "plan_out", trace.plan, recording.plan_out, tolerances.plan, n, plan_size);
  for (std::size_t i = 0; i < recording.valid.size(); ++i) {
    report.compare_exactly("valid", (trace.valid[i] != 0) == (recording.valid[i] != 0),
                           [&] { return element("valid", i, n, n.rollouts); });
  }
  // an iteration starts from the plan before
  const std::size_t batch = n.problems * plan_size;
  for (std::size_t i = batch; i < recording.plan_in.size(); ++i) {
    report.compare("plan_in", static_cast<double>(trace.plan[i - batch]), recording.plan_in[i],
                   tolerances.plan, [&] { return element("plan_in", i, n, plan_size); });
  }
}

/// Weights of one problem's rollouts; where none counts, all do. `valid` matters where the prior is
/// uniform alone: empty otherwise.
template <class Costs>
std::vector<double> weights(const Costs& cost, std::span<const std::uint8_t> valid,
                            std::size_t begin, std::size_t count, double temperature) {
  const auto counts = [&](std::size_t k) { return valid.empty() || valid[begin + k] != 0; };
  bool any = false;
  for (std::size_t k = 0; k < count; ++k) any = any || counts(k);
  double least = std::numeric_limits<double>::infinity();
  for (std::size_t k = 0; k < count; ++k) {
    if (!any || counts(k)) least = std::min(least, static_cast<double>(cost[begin + k]));
  }
  std::vector<double> result(count, 0);
  double sum = 0;
  for (std::size_t k = 0; k < count; ++k) {
    if (any && !counts(k)) continue;
    result[k] = std::exp((least - static_cast<double>(cost[begin + k])) / temperature);
    sum += result[k];
  }
  for (double& w : result) w /= sum;
  return result;
}

double median_or_nan(const std::vector<double>& values) {
  const bool good = std::ranges::all_of(values, [](double v) { return std::isfinite(v); });
  return good ? median(values) : std::nan("");
}

/// 16 bit: what its rounding does to the weights and the value.
void compare_coarsely(const Recording& recording, const PlanTrace& trace, const Sizes& n,
                      const PlannerConfig& config, VerifyReport& report) {
  const bool masked = config.prior == Prior::uniform;
  const std::span<const std::uint8_t> recorded = recording.valid, computed = trace.valid;
  std::vector<double> variation, value_error;
  for (std::size_t b = 0; b < recording.value.size(); ++b) {
    const std::size_t begin = b * n.rollouts;
    const auto exact = weights(recording.cost, masked ? recorded : recorded.first(0), begin,
                               n.rollouts, config.temperature);
    const auto found = weights(trace.cost, masked ? computed : computed.first(0), begin, n.rollouts,
                               config.temperature);
    double sum = 0;
    for (std::size_t k = 0; k < n.rollouts; ++k) sum += std::abs(exact[k] - found[k]);
    variation.push_back(sum / 2);
    value_error.push_back(std::abs(trace.value[b] / recording.value[b] - 1));
  }
  const auto where = [&] {
    return text("the median of %zu problems and iterations", variation.size());
  };
  const Budget budget = config.precision == Precision::float16 ? kFloat16 : kBfloat16;
  report.compare("weights", median_or_nan(variation), 0, {budget.variation, 0}, where);
  report.compare("value", median_or_nan(value_error), 0, {budget.value, 0}, where);
}

void solve(const Parts& parts, const PlannerConfig& config, const VerifyTarget& target,
           const PlanBatch& batch, PlanTrace& trace) {
  const ProblemShape& s = parts.shape;
  const MlpDynamics dynamics(parts.members, s.nx, s.nu, {},
                             target.device ? Precision::float32 : config.precision);
  const MlpValue value(parts.critic, s.nx, s.nu);
  std::unique_ptr<MlpPolicy> policy;
  if (parts.policy) {
    policy = std::make_unique<MlpPolicy>(*parts.policy, s.action_low, s.action_high);
  }
  cuda::DeviceOptions on;
  on.path = target.path;
  on.device = target.device;
  const Models models = {&dynamics, parts.reward.get(), &value, policy.get()};
  make_planner(config, s, models,
               {.device = target.device ? Device::cuda : Device::cpu, .cuda = &on})
      ->solve({}, batch, &trace);
}

/// One solve over all iterations, from the first recorded plan.
PlanTrace solve(const Recording& recording, const Parts& parts, const PlannerConfig& config,
                const std::vector<float>& observation, const Sizes& n, const VerifyTarget& target) {
  const std::size_t batch_size = n.problems * (n.horizon + 1) * n.nu;
  std::vector<float> plan(recording.plan_in.begin(),
                          recording.plan_in.begin() + static_cast<std::ptrdiff_t>(batch_size));
  std::vector<double> value(n.problems);
  PlanBatch batch;
  batch.problems = static_cast<int>(n.problems);
  batch.observation = observation;
  batch.plan = plan;
  batch.value = value;
  PlanTrace trace;
  trace.noise = recording.noise;
  trace.member = recording.member;
  solve(parts, config, target, batch, trace);
  return trace;
}

}  // namespace

VerifyReport verify_plan(const JsonNode& document, const VerifyTarget& target) {
  VerifyReport report;
  report.file = document.source();
  report.kind = "plan";
  report.task = document.at("task").string();
  try {
    const Task& task = recorded_task(document);
    const TaskOptions options{.positions = document.at("with_positions").boolean(),
                              .time_limit = 0};
    const TaskSpec spec = task.spec(options);
    if (!spec.analytic_reward) {
      document.at("task").fail("is " + report.task + ", whose reward is no function of the " +
                               "observation: a recorded plan cannot be repeated");
    }
    if (document.at("activation").string() != "silu") {
      document.at("activation").fail("must be silu");
    }
    const JsonNode iterations = document.at("iterations");
    if (iterations.size() == 0) iterations.fail("is empty, must hold at least one iteration");
    PlannerConfig config =
        read_config(document, static_cast<std::size_t>(spec.nu), iterations.size());
    config.precision = target.precision;
    const Parts parts = read_parts(document, config, task, options);
    const Sizes n = {static_cast<std::size_t>(parts.shape.max_problems),
                     static_cast<std::size_t>(config.rollouts),
                     static_cast<std::size_t>(config.horizon),
                     static_cast<std::size_t>(spec.nx),
                     static_cast<std::size_t>(spec.nu),
                     iterations.size()};
    const auto observation = document.at("observation").floats({n.problems, n.nx});
    const Recording recording =
        read_recording(iterations, n, static_cast<std::size_t>(parts.members.stack), config.prior);
    const JsonNode tolerance = document.at("tolerance");
    const Tolerances tolerances = {read_tolerance(tolerance.at("cost")),
                                   read_tolerance(tolerance.at("value")),
                                   read_tolerance(tolerance.at("plan"))};
    const PlanTrace trace = solve(recording, parts, config, observation, n, target);
    if (config.precision == Precision::float32) {
      compare(recording, trace, n, tolerances, report);
    } else {
      compare_coarsely(recording, trace, n, config, report);
    }
  } catch (const UsageError& error) {
    // a setting out of range: what is wrong is the file, not the command line
    throw Error(report.file + ": " + error.what());
  }
  return report;
}

}  // namespace softmpc::tools
