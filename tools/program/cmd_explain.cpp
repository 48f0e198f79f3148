// SPDX-License-Identifier: Apache-2.0
// softmpc explain: why a plan is what it is.
#include <limits>
#include <memory>

#include "control/engine.h"
#include "policy_actor.h"
#include "program/command.h"
#include "program/console.h"
#include "program/explanation_text.h"
#include "program/flight.h"
#include "program/state_reader.h"
#include "program/task_models.h"
#include "softmpc/error.h"

namespace softmpc::tools {
namespace {

using Json = nlohmann::ordered_json;

struct ExplainOptions {
  std::string bundle, state, record, seed = "1", precision, top = "10";
  std::vector<std::string> bundles;
  bool json = false;
};

/// The first plan of a controller that starts cold, as `plan` makes it.
Explanation explain_first(const Engine& engine, std::uint64_t seed, std::span<const float> state) {
  const Planner& planner = *engine.planner;
  std::vector<float> plan(planner.plan_size());
  planner.draw({seed, 0}, kEpisodePlan, plan);
  planner.shift(plan);
  return explain(planner.config(), planner.shape(), engine.models,
                 {.key = {seed, 0}, .observation = state, .plan = plan});
}

std::vector<Finding> findings_of(const Engine& engine, const Explanation& e,
                                 std::span<const float> observation) {
  return diagnose(
      engine.config, engine.planner->shape(), engine.models, e,
      {.observation = observation, .state_low = engine.state_low, .state_high = engine.state_high});
}

std::string numbers(std::span<const float> values, const char* format) {
  std::string result;
  for (const float value : values)
    result += (result.empty() ? "" : " ") + text(format, static_cast<double>(value));
  return result;
}

std::string header(const std::string& path, const Bundle& bundle, std::span<const float> state,
                   const Explanation& e, std::span<const float> action, bool policy_acts) {
  return table({{"bundle", path + " (" + bundle.task + ")"},
                {"state", numbers(state, "%g")},
                {"status", to_string(e.status)},
                {"V", text("%.6g", e.value)},
                {"effective samples",
                 text("%.4g of %d rollouts", e.effective_samples, e.done.rollouts)},
                {"action", numbers(action, "%+.4f") + (policy_acts ? " (the policy's)" : "")}}) +
         (policy_acts ? table({{"action of the plan", numbers(e.action, "%+.4f")}}) : "");
}

/// A plan that flew.
int explain_record(const ExplainOptions& options, int top) {
  if (options.record.empty()) throw UsageError("--record: says which of the black box's plans");
  const auto number = static_cast<std::uint64_t>(
      whole_number("--record", options.record, 1, std::numeric_limits<std::int64_t>::max()));
  Flight flight(options.bundle, options.bundles);
  const BlackBoxRecord record = flight.record(number);
  Controller& controller = flight.controller(record);
  const bool same = same_bits(record, controller.replay(record));
  const std::string which = record_name(number);
  const auto solved = controller.solved();
  if (!solved)
    throw Error(options.bundle + ": " + which + " is " + to_string(record.plan.status) +
                ": nothing was planned, there is nothing to explain");
  const Flown& flown = flight.flown(record);
  ControllerOptions once = flight.options(record);
  once.threads = 1;
  const Engine engine(flown.bundle, flown.reward.get(), once);
  const Explanation e =
      explain(engine.config, engine.planner->shape(), engine.models, explain_input(*solved));
  const std::vector<Finding> findings = findings_of(engine, e, solved->observation);
  const std::span<const float> sent = record.plan.action;
  if (options.json) {
    Json document = {{"black_box", options.bundle},
                     {"record", number},
                     {"bundle", flown.path},
                     {"task", flown.bundle.task},
                     {"recorded_status", to_string(record.plan.status)},
                     {"same_bits", same},
                     {"observation", tidy(record.observation)},
                     {"state", tidy(solved->observation)},
                     {"sent", tidy(sent)},
                     {"action", tidy(e.action)},
                     {"findings", findings_json(findings)}};
    document.update(explanation_json(engine.config, engine.planner->shape(), e));
    write_out(document.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n');
  } else {
    write_out(findings_text(findings, e) +
              table({{"black box", options.bundle + ", " + which},
                     {"recorded", std::string(to_string(record.plan.status)) +
                                      (record.plan.from_fallback ? ", the fallback acted" : "") +
                                      (same ? "" : "; made again it differs")},
                     {"sent", numbers(sent, "%+.4f")}}) +
              header(flown.path, flown.bundle, solved->observation, e, e.action, false) +
              explanation_text(engine.config, e, top));
  }
  require_agreement(e);
  return 0;
}

int run_explain(const ExplainOptions& options) {
  const int top = static_cast<int>(whole_number("--top", options.top, 0, 1 << 30));
  if (is_black_box(options.bundle)) return explain_record(options, top);
  if (options.state.empty()) throw UsageError("--state: says where to plan from");
  const std::uint64_t seed = seed_number("--seed", options.seed);
  const std::string path = bundle_path(options.bundle);
  Bundle bundle = load_bundle(path);
  bundle.planner.precision =
      chosen_precision(options.precision, Device::cpu, bundle.planner.precision);
  const std::vector<float> state = read_state(options.state, bundle);
  const auto reward = reward_of(bundle, options.bundle);
  const auto dynamics = dynamics_of(bundle, options.bundle);
  PolicyActor policy(bundle);  // as `eval` acts
  const Engine engine(bundle, reward.get(), {.threads = 1, .dynamics = dynamics.get()});
  const Explanation e = explain_first(engine, seed, state);
  const std::vector<Finding> findings = findings_of(engine, e, state);
  const std::span<const float> action = policy.acts() ? policy.act(state) : std::span(e.action);
  if (options.json) {
    Json document = {{"bundle", path},
                     {"task", bundle.task},
                     {"precision", to_string(bundle.planner.precision)},
                     {"seed", seed},
                     {"state", tidy(state)},
                     {"action", tidy(action)},
                     {"findings", findings_json(findings)}};
    document.update(explanation_json(engine.planner->config(), engine.planner->shape(), e));
    write_out(document.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n');
  } else {
    write_out(findings_text(findings, e) + header(path, bundle, state, e, action, policy.acts()) +
              explanation_text(engine.planner->config(), e, top));
  }
  require_agreement(e);
  return 0;
}

}  // namespace

Run add_explain(CLI::App& app) {
  auto options = std::make_shared<ExplainOptions>();
  add_text(app, "BUNDLE", options->bundle, "",
           "a run folder, its model.safetensors, or a black box")
      ->required();
  add_text(
      app, "--state", options->state, "FILE|-",
      "one state: JSON [...], or numbers with spaces or commas between; - reads standard input");
  add_text(app, "--record", options->record, "N", "of a black box: the plan's number");
  app.add_option("--bundle", options->bundles,
                 "of a black box: the run folders or bundles that flew")
      ->type_name("B...");
  add_text(app, "--seed", options->seed, "S", "seed of the planner's noise, 1 if not given");
  add_text(app, "--precision", options->precision, "P",
           "planner.precision: float32, bfloat16 or auto, the bundle's own if not given");
  add_text(app, "--top", options->top, "N", "rollouts to print, 10 if not given");
  app.add_flag("--json", options->json,
               "one JSON document: the plan before and after, each update, and all rollouts with "
               "weight, cost, rewards, members, states and actions");
  app.footer(
      "First comes what is wrong with the plan, causes before what follows from them; then "
      "numbers.\n"
      "The plan is the one that `softmpc plan` makes of this state and seed on the CPU. Its "
      "rollouts\n"
      "are those of the last update: S is the cost that decides the weight; return: rewards and\n"
      "terminal value, discounted; prior: what departing from the prior costs; clipped: share of\n"
      "action entries outside the bounds; end: the step after which nothing counts; a_0: the "
      "first\n"
      "action; r_t: rewards. S, V and weights are computed again from these parts; exit 1 if they\n"
      "differ beyond rounding.\n\n"
      "Example: echo '0 0 0 0' | softmpc explain runs/InvertedPendulum-default-seed1 --state -\n"
      "         softmpc explain flight.blackbox --record 812 --bundle runs/Hopper-default-seed1");
  return [options] { return run_explain(*options); };
}

}  // namespace softmpc::tools
