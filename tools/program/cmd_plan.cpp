// SPDX-License-Identifier: Apache-2.0
// softmpc plan: plans from given states with a trained controller.
#include <memory>

#include "policy_actor.h"
#include "program/command.h"
#include "program/console.h"
#include "program/gpu_device.h"
#include "program/state_reader.h"
#include "program/task_models.h"
#include "softmpc/controller.h"

namespace softmpc::tools {
namespace {

using Json = nlohmann::ordered_json;

struct PlanOptions {
  std::string bundle, state, seed = "1", device, precision;
  bool json = false;
};

Json as_json(const Plan& plan, std::size_t nu) {
  Json rows = Json::array();
  for (std::size_t t = 0; t + nu <= plan.sequence.size(); t += nu) {
    rows.push_back(tidy(plan.sequence.subspan(t, nu)));
  }
  return {{"action", tidy(plan.action)},
          {"value", plan.value},  // NaN is written as null
          {"status", to_string(plan.status)},
          {"plan", rows},
          {"effective_samples", plan.effective_samples},
          {"valid_share", plan.valid_share}};
}

std::string as_table(const Json& plans) {
  std::vector<std::vector<std::string>> rows = {
      {"row", "action", "value", "status", "effective samples", "valid share"}};
  for (std::size_t i = 0; i < plans.size(); ++i) {
    const Json& plan = plans[i];
    std::string action;
    for (const Json& entry : plan["action"]) {
      action += (action.empty() ? "" : " ") + text("%+.4f", entry.get<double>());
    }
    rows.push_back({std::to_string(i), action, text("%.6g", plan["value"].get<double>()),
                    plan["status"], text("%.4g", plan["effective_samples"].get<double>()),
                    text("%.4g", plan["valid_share"].get<double>())});
  }
  return table(rows);
}

int run_plan(const PlanOptions& options) {
  const std::uint64_t seed = seed_number("--seed", options.seed);
  resolve_device(options.device);  // before a file is read
  const std::string path = bundle_path(options.bundle);
  Bundle bundle = load_bundle(path);
  const Device device = acting_device(options.device, bundle);
  use_kernels_beside(path, device);
  bundle.planner.precision = chosen_precision(options.precision, device, bundle.planner.precision);
  const auto states = read_states(options.state, bundle);
  const auto reward = reward_of(bundle, options.bundle);
  const auto dynamics = dynamics_of(bundle, options.bundle);
  PolicyActor policy(bundle);  // as `eval` acts
  Controller controller =
      make_controller(bundle, reward.get(),
                      {.seed = seed, .threads = 1, .dynamics = dynamics.get(), .device = device});
  Json plans = Json::array();
  for (const std::vector<float>& state : states) {
    // each state is a problem of its own, started cold; the first is a new controller's first plan
    if (!plans.empty()) controller.reset();
    Plan plan = controller.plan(state);
    if (policy.acts()) plan.action = policy.act(state);
    plans.push_back(as_json(plan, static_cast<std::size_t>(bundle.nu)));
  }
  const std::string where = controller.device();
  write_out(options.json ? Json{{"device", where},
                                {"precision", to_string(bundle.planner.precision)},
                                {"plans", plans}}
                                   .dump() +
                               '\n'
                         : as_table(plans) + (options.device.empty() ? "" : where + '\n'));
  return 0;
}

}  // namespace

Run add_plan(CLI::App& app) {
  auto options = std::make_shared<PlanOptions>();
  add_text(app, "BUNDLE", options->bundle, "", "a run folder or its model.safetensors")->required();
  add_text(app, "--state", options->state, "FILE|-",
           "JSON [[...], ...], one state a row; - reads standard input")
      ->required();
  add_text(app, "--seed", options->seed, "S", "seed of the planner's noise, 1 if not given");
  add_text(app, "--device", options->device, "D", kDeviceHelp);
  add_text(app, "--precision", options->precision, "P",
           "planner.precision: float32, bfloat16 or auto, the bundle's own if not given; with cuda "
           "float16 too, and if not given");
  app.add_flag("--json", options->json,
               "one JSON document: {\"device\", \"precision\", \"plans\": [{action, value, status, "
               "plan, ...}]}");
  app.footer(
      "Each state is a problem of its own: its plan starts as at an episode's start, from N(0, "
      "Sigma).\n"
      "'action' is what to execute (the policy's, where that acted in training), 'value' the soft "
      "value,\n"
      "'plan' the H+1 rows of the plan, relative to the neutral action.\n\n"
      "Example: echo '[[0, 0, 0, 0]]' | softmpc plan runs/InvertedPendulum-default-seed1 --state "
      "-");
  return [options] { return run_plan(*options); };
}

}  // namespace softmpc::tools
