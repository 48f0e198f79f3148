// SPDX-License-Identifier: Apache-2.0
#include "control/black_box_header.h"

#include <chrono>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <nlohmann/json.hpp>

#include "cpu/kernels.h"
#include "softmpc/error.h"
#include "softmpc/version.h"

namespace softmpc {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFallback[] = {"shifted_plan", "hold", "rest", "callback"};
constexpr const char* kReading[] = {"linear", "hold"};

std::size_t index_of(const Json& name, std::initializer_list<const char*> names) {
  std::size_t k = 0;
  for (const char* known : names) {
    if (name == known) return k;
    ++k;
  }
  throw Error("header: '" + name.dump() + "' is not known");
}

Json of_options(const ControllerOptions& o) {
  return {{"seed", o.seed},
          {"threads", o.threads},
          {"min_rollouts", o.min_rollouts},
          {"fallback", kFallback[static_cast<std::size_t>(o.fallback)]},
          {"max_fallbacks", o.max_fallbacks},
          {"rest", o.rest},
          {"max_rate", o.max_rate},
          {"max_state_age_ns", o.max_state_age.count()},
          {"command_delay_ns", o.command_delay.count()},
          {"state_margin", std::isinf(o.state_margin) ? Json(nullptr) : Json(o.state_margin)},
          {"reading", kReading[static_cast<std::size_t>(o.reading)]},
          {"want_predicted", o.want_predicted},
          {"own_dynamics", o.dynamics != nullptr},
          {"own_value", o.value != nullptr},
          {"validated", static_cast<bool>(o.validate)}};
}

ControllerOptions to_options(const Json& j) {
  ControllerOptions o;
  o.seed = j.at("seed").get<std::uint64_t>();
  o.threads = j.at("threads").get<int>();
  o.min_rollouts = j.at("min_rollouts").get<int>();
  o.fallback = static_cast<Fallback>(
      index_of(j.at("fallback"), {kFallback[0], kFallback[1], kFallback[2], kFallback[3]}));
  o.max_fallbacks = j.at("max_fallbacks").get<int>();
  o.rest = j.at("rest").get<std::vector<float>>();
  o.max_rate = j.at("max_rate").get<std::vector<float>>();
  o.max_state_age = Nanoseconds(j.at("max_state_age_ns").get<std::int64_t>());
  o.command_delay = Nanoseconds(j.at("command_delay_ns").get<std::int64_t>());
  const Json& margin = j.at("state_margin");
  o.state_margin =
      margin.is_null() ? std::numeric_limits<double>::infinity() : margin.get<double>();
  o.reading = static_cast<Reading>(index_of(j.at("reading"), {kReading[0], kReading[1]}));
  o.want_predicted = j.at("want_predicted").get<bool>();
  // a replay takes what the callback said from the record
  if (o.fallback == Fallback::callback)
    o.on_fallback = [](PlanStatus, std::span<const float>, std::span<float>) {};
  return o;
}

}  // namespace

BlackBoxOrigin BlackBoxOrigin::here() {
  BlackBoxOrigin o;
  o.softmpc = SOFTMPC_VERSION_STRING;
  o.compiler = __VERSION__;
  o.instruction_set = cpu::kernels().name;
  return o;
}

bool BlackBoxOrigin::same_program(const BlackBoxOrigin& other) const {
  return softmpc == other.softmpc && compiler == other.compiler &&
         instruction_set == other.instruction_set;
}

std::string black_box_header(const BlackBoxOrigin& o, const PlannerConfig& planner,
                             const ControllerOptions& options) {
  using std::chrono::duration_cast;
  Config config;
  config.planner = planner;
  const auto wall = std::chrono::system_clock::now().time_since_epoch();
  const auto steady = SolveBudget::Clock::now().time_since_epoch();
  return Json{{"softmpc", o.softmpc},
              {"compiler", o.compiler},
              {"instruction_set", o.instruction_set},
              {"device", o.device},
              {"task", o.task},
              {"nx", o.nx},
              {"nu", o.nu},
              {"horizon", o.horizon},
              {"state_bytes", o.state_bytes},
              {"dt", o.dt},
              {"unix_ns", duration_cast<Nanoseconds>(wall).count()},
              {"steady_ns", duration_cast<Nanoseconds>(steady).count()},
              {"options", of_options(options)},
              {"planner", Json::parse(to_json(config)).at("planner")}}
      .dump(1);
}

BlackBoxOrigin read_black_box_header(const std::string& text, ControllerOptions& options) {
  try {
    const Json j = Json::parse(text);
    BlackBoxOrigin o;
    const auto read = [&j](const char* key, auto& value) { j.at(key).get_to(value); };
    read("softmpc", o.softmpc);
    read("compiler", o.compiler);
    read("instruction_set", o.instruction_set);
    read("device", o.device);
    read("task", o.task);
    read("nx", o.nx);
    read("nu", o.nu);
    read("horizon", o.horizon);
    read("state_bytes", o.state_bytes);
    read("dt", o.dt);
    options = to_options(j.at("options"));
    return o;
  } catch (const nlohmann::json::exception& error) {
    throw Error(std::string("header: ") + error.what());
  }
}

}  // namespace softmpc
