// SPDX-License-Identifier: Apache-2.0
#include "bench/bench_problem.h"

#include <algorithm>
#include <cmath>

#include "softmpc/bundle.h"
#include "softmpc/error.h"
#include "softmpc/hd/philox.h"
#include "softmpc/rules.h"
#include "softmpc/task.h"

// clang-format off
SOFTMPC_RULES(kQuadraticText,
namespace softmpc::tools {
// r = 1 - |x'|^2 / 10 - |a|^2 / 10; parameters: nx, nu
struct QuadraticRules {
  static constexpr bool has_termination = false;
  SOFTMPC_HD explicit QuadraticRules(const float* sizes)
      : nx(static_cast<int>(sizes[0])), nu(static_cast<int>(sizes[1])) {}
  template <class X, class A, class Next>
  SOFTMPC_HD float reward(const X&, const A& a, const Next& next) const {
    float result = 1;
    for (int i = 0; i < nx; ++i) result -= 0.1f * next[i] * next[i];
    for (int i = 0; i < nu; ++i) result -= 0.1f * a[i] * a[i];
    return result;
  }
  int nx;
  int nu;
};
})
// clang-format on

namespace softmpc::tools {
namespace {

constexpr std::uint64_t kSeed = 20260420;

/// Uniform on (-1, 1) from counters.
class Uniforms {
 public:
  explicit Uniforms(std::uint32_t stream) : stream_(stream) {}
  float operator()() {
    if (at_ == 4) at_ = 0, ++block_;
    const hd::Philox4 bits =
        hd::philox({block_, hd::draw_word(hd::Stream::init, 0, 0, 0), stream_, 0}, kSeed);
    const std::uint32_t words[] = {bits.x, bits.y, bits.z, bits.w};
    return 2 * hd::uniform(words[at_++]) - 1;
  }

 private:
  std::uint32_t stream_, block_ = 0;
  int at_ = 0;
};

NetWeights random_net(int stack, const NetSpec& spec, std::uint32_t stream) {
  NetWeights net = NetWeights::zeros(stack, spec);
  Uniforms uniform(stream);
  spec.for_each_slot([&](const ParameterSlot& slot) {
    const float bound = 1 / std::sqrt(static_cast<float>(spec.inputs_of(slot.layer)));
    for (float& value : net.slot(slot.layer, slot.part)) value = bound * uniform();
  });
  return net;
}

NetSpec net_spec(const PlanCase& c, int outputs) {
  return NetSpec::mlp(c.nx + c.nu, c.width, c.layers, outputs);
}

}  // namespace

const std::vector<PlanCase>& named_cases() {
  static const std::vector<PlanCase> cases = {{"a", 1, 200, 4},
                                              {"b", 32, 20, 4},
                                              {"c", 256, 64, 8},
                                              {"d", 1, 8192, 32},
                                              {"e", 4096, 64, 8}};
  return cases;
}

const PlanCase& named_case(const std::string& name) {
  for (const PlanCase& c : named_cases()) {
    if (c.name == name) return c;
  }
  throw UsageError("--case: '" + name + "' must be one of a, b, c, d, e, or several as a,b");
}

PlannerConfig bench_config(const PlanCase& c, Precision precision) {
  PlannerConfig config;  // paper-gaussian's lambda, variance and member draw
  config.rollouts = c.rollouts;
  config.horizon = c.horizon;
  config.temperature = 0.1;
  config.variance = {0.1};
  config.member_draw = MemberDraw::per_step;
  config.precision = precision;
  return config;
}

ProblemShape bench_shape(const PlanCase& c) {
  const auto nu = static_cast<std::size_t>(c.nu);
  return {c.nx, c.nu, std::vector<float>(nu, -1), std::vector<float>(nu, 1), c.problems};
}

std::vector<float> bench_observations(const PlanCase& c, int sets) {
  const bool hopper = bench_reward(c.nx, c.nu).name == "Hopper";
  Uniforms uniform(2);
  std::vector<float> observation;
  const std::size_t states = static_cast<std::size_t>(sets) * static_cast<std::size_t>(c.problems);
  observation.reserve(states * static_cast<std::size_t>(c.nx));
  for (std::size_t j = 0; j < states; ++j) {
    for (int i = 0; i < c.nx; ++i) {
      const float rest = hopper && i == 1 ? 1.25f : 0.0f;  // Hopper's height
      observation.push_back(rest + 0.05f * uniform());
    }
  }
  return observation;
}

SolveKey bench_key(std::uint32_t solve) { return {kSeed, solve}; }

BenchNets random_nets(const PlanCase& c) {
  return {random_net(c.members, net_spec(c, c.nx), 0), random_net(1, net_spec(c, 1), 1)};
}

void save_nets(const PlanCase& c, const std::string& path) {
  BenchNets nets = random_nets(c);
  Bundle bundle;
  bundle.task = bench_reward(c.nx, c.nu).name == "Hopper" ? "Hopper" : "bench";
  bundle.nx = c.nx;
  bundle.nu = c.nu;
  bundle.action_low.assign(static_cast<std::size_t>(c.nu), -1);
  bundle.action_high.assign(static_cast<std::size_t>(c.nu), 1);
  bundle.dt = 0.008;
  bundle.members = std::move(nets.members);
  bundle.critics = std::move(nets.critic);
  bundle.planner = bench_config(c, Precision::float32);
  bundle.provenance = Json{
      {"softmpc", SOFTMPC_VERSION},
      {"made_by", "softmpc bench plan --nets"},
      {"seed", kSeed}}.dump();
  save_bundle(bundle, path);
}

Work solve_work(const PlanCase& c) {
  const PlannerConfig config = bench_config(c, Precision::float32);
  return plan_work({static_cast<double>(c.problems), static_cast<double>(c.rollouts),
                    static_cast<double>(c.horizon), static_cast<double>(config.iterations), c.nx},
                   {net_spec(c, c.nx), net_spec(c, 1), {}, {}});
}

BenchReward bench_reward(int nx, int nu) {
  const Task& hopper = find_task("Hopper");
  const TaskSpec spec = hopper.spec({});
  if (nx == spec.nx && nu == spec.nu) return {spec.name, make_rollout_reward(hopper, {})};
  return {"quadratic",
          std::make_unique<RuleReward<QuadraticRules>>(
              kQuadraticText, std::vector{static_cast<float>(nx), static_cast<float>(nu)})};
}

PlanProblem::PlanProblem(const PlanCase& c, Precision precision, ThreadPool& pool)
    : case_(c), reward_(bench_reward(c.nx, c.nu)) {
  const BenchNets nets = random_nets(c);
  dynamics_ = std::make_unique<MlpDynamics>(nets.members, c.nx, c.nu, MemberOutputs{}, precision);
  value_ = std::make_unique<MlpValue>(nets.critic, c.nx, c.nu);
  const auto nu = static_cast<std::size_t>(c.nu), problems = static_cast<std::size_t>(c.problems);
  planner_ = make_planner(bench_config(c, precision), bench_shape(c),
                          {dynamics_.get(), reward_.model.get(), value_.get()}, {.pool = &pool});
  plan_.resize(problems * planner_->plan_size());
  action_.resize(problems * nu);
  soft_value_.resize(problems);
  status_.resize(problems);
  observation_ = bench_observations(c, 1);
}

void PlanProblem::solve() {
  PlanBatch batch;
  batch.problems = case_.problems;
  batch.observation = observation_;
  batch.plan = plan_;
  batch.action = action_;
  batch.value = soft_value_;
  batch.status = status_;
  if (case_.problems == 1) planner_->shift(plan_);
  planner_->solve(bench_key(solves_++), batch);
}

Timed PlanProblem::timed() {
  return {[this] { solve(); }, solve_work(case_)};
}

void check_status(const PlanCase& c, std::span<const PlanStatus> status) {
  for (const PlanStatus one : status) {
    if (one != PlanStatus::ok) {
      throw Error("bench: a plan of case " + c.name + " has status " + softmpc::to_string(one));
    }
  }
}

}  // namespace softmpc::tools
