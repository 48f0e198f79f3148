// SPDX-License-Identifier: Apache-2.0
// Tests whole plans against the recordings of tests/golden/plan, each within the file's tolerance.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "softmpc/network.h"
#include "softmpc/planner.h"
#include "softmpc/task.h"

namespace softmpc {
namespace {

using Json = nlohmann::json;

/// The numbers of nested arrays, in order.
template <class T>
void flatten(const Json& json, std::vector<T>& to) {
  if (json.is_array())
    for (const Json& entry : json) flatten(entry, to);
  else
    to.push_back(json.is_boolean() ? static_cast<T>(json.get<bool>()) : json.get<T>());
}
template <class T>
std::vector<T> numbers(const Json& json) {
  std::vector<T> to;
  flatten(json, to);
  return to;
}

/// A stack of networks, each a list of layers {weight [out][in], bias [out]}.
NetWeights read_stack(const Json& nets) {
  std::vector<int> sizes = {static_cast<int>(nets[0][0].at("weight")[0].size())};
  for (const Json& layer : nets[0]) sizes.push_back(static_cast<int>(layer.at("bias").size()));
  NetWeights w = NetWeights::zeros(static_cast<int>(nets.size()), NetSpec::mlp(sizes));
  w.parameters.clear();
  w.spec.for_each_slot([&](const ParameterSlot& slot) {
    const char* name = slot.part == Part::weight ? "weight" : "bias";
    for (const Json& net : nets) flatten(net[slot.layer].at(name), w.parameters);
  });
  return w;
}

PlannerConfig read_config(const Json& file) {
  PlannerConfig c;
  c.rollouts = file.at("rollouts");
  c.horizon = file.at("horizon");
  c.iterations = static_cast<int>(file.at("iterations").size());
  c.temperature = file.at("temperature");
  c.variance = file.at("variance").get<std::vector<double>>();
  c.gamma = file.at("gamma");
  c.prior = file.at("prior") == "uniform" ? Prior::uniform : Prior::gaussian;
  const std::string mode = file.at("control_mode");
  c.control_mode = mode == "mean_residual" ? ControlMode::mean_residual
                   : mode == "mu"          ? ControlMode::policy_residual
                                           : ControlMode::plain;
  c.handle_terminations = file.at("handle_terminations");
  return c;
}

/// Largest error in units of the tolerance abs + rel |recorded|.
template <class A>
double largest(const A& got, const std::vector<double>& recorded, const Json& tolerance) {
  EXPECT_EQ(got.size(), recorded.size());
  double worst = 0;
  for (std::size_t i = 0; i < recorded.size() && i < got.size(); ++i) {
    const double limit = tolerance.at("abs").get<double>() +
                         tolerance.at("rel").get<double>() * std::abs(recorded[i]);
    const double error = std::abs(static_cast<double>(got[i]) - recorded[i]) / limit;
    worst = std::isnan(error) ? INFINITY : std::max(worst, error);
  }
  return worst;
}

/// Everything recorded over the iterations, one behind the other.
struct Recording {
  std::vector<float> noise;
  std::vector<int> member;
  std::vector<double> cost, value, plan, effective_samples;
  std::vector<std::uint8_t> valid;
  explicit Recording(const Json& iterations) {
    for (const Json& it : iterations) {
      flatten(it.at("noise"), noise);
      flatten(it.at("member"), member);
      flatten(it.at("cost"), cost);
      flatten(it.at("value"), value);
      flatten(it.at("plan_out"), plan);
      if (it.contains("valid") && !it.at("valid").is_null()) flatten(it.at("valid"), valid);
      if (it.contains("effective_samples") && !it.at("effective_samples").is_null())
        flatten(it.at("effective_samples"), effective_samples);
    }
  }
};

void compare(const PlanTrace& trace, const Recording& recorded, const Json& tolerance) {
  const double cost = largest(trace.cost, recorded.cost, tolerance.at("cost"));
  const double value = largest(trace.value, recorded.value, tolerance.at("value"));
  const double plan = largest(trace.plan, recorded.plan, tolerance.at("plan"));
  std::printf("  share of the tolerance: cost %.4f, value %.4f, plan %.4f\n", cost, value, plan);
  EXPECT_LE(cost, 0.25);  // a float32 implementation stays far below the tolerance itself
  EXPECT_LE(value, 0.25);
  EXPECT_LE(plan, 0.25);
  if (!recorded.valid.empty()) {
    EXPECT_EQ(trace.valid, recorded.valid);
  } else if (!recorded.effective_samples.empty()) {
    // with a validity mask the recorded number counts the masked rollouts too
    const Json limit = {{"abs", 1e-3}, {"rel", 1e-4}};
    EXPECT_LE(largest(trace.effective_samples, recorded.effective_samples, limit), 1.0);
  }
}

void replay(const std::filesystem::path& path) {
  std::ifstream stream(path);
  const Json file = Json::parse(stream);
  TaskOptions options;
  options.positions = file.at("with_positions");
  const Task& task = find_task(file.at("task").get<std::string>());
  const TaskSpec spec = task.spec(options);
  const PlannerConfig config = read_config(file);
  const int problems = file.at("problems");

  const MlpDynamics dynamics(read_stack(file.at("members")), spec.nx, spec.nu);
  const MlpValue value(read_stack(Json::array({file.at("critic")})), spec.nx, spec.nu);
  std::optional<MlpPolicy> policy;
  if (!file.at("actor").is_null())
    policy.emplace(read_stack(Json::array({file.at("actor")})), spec.action_low, spec.action_high);
  const auto reward = task.make_reward(options);
  ASSERT_TRUE(reward);
  const Models models = {&dynamics, reward.get(), &value, policy ? &*policy : nullptr};

  const auto observation = numbers<float>(file.at("observation"));
  auto plan = numbers<float>(file.at("iterations")[0].at("plan_in"));
  std::vector<double> values(static_cast<std::size_t>(problems));
  PlanBatch batch;
  batch.problems = problems;
  batch.observation = observation;
  batch.plan = plan;
  batch.value = values;
  const Recording recorded(file.at("iterations"));
  PlanTrace trace;
  trace.noise = recorded.noise;
  trace.member = recorded.member;
  make_planner(config, {spec.nx, spec.nu, spec.action_low, spec.action_high, problems}, models)
      ->solve({}, batch, &trace);
  compare(trace, recorded, file.at("tolerance"));
}

TEST(PlannerGolden, EveryRecordedPlanIsReproduced) {
  const char* folder = std::getenv("SOFTMPC_GOLDEN_DIR");
  const auto root = std::filesystem::path(folder ? folder : SOFTMPC_GOLDEN_DIR) / "plan";
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(root))
    if (entry.path().extension() == ".json") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  ASSERT_GE(files.size(), 12u);
  for (const auto& path : files) {
    SCOPED_TRACE(path.filename().string());
    std::printf("%s\n", path.filename().c_str());
    replay(path);
  }
}

}  // namespace
}  // namespace softmpc
