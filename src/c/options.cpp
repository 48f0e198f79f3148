// SPDX-License-Identifier: Apache-2.0
#include "options.h"

#include "border.h"
#include "softmpc/config.h"
#include "softmpc/error.h"

namespace softmpc::c {
namespace {

/// The number of a choice 0..most.
int choice(const char* name, std::int32_t value, int most) {
  if (value < 0 || value > most)
    throw UsageError(std::string("options.") + name + ": " + std::to_string(value) +
                     " is out of range 0.." + std::to_string(most));
  return value;
}

/// `given`, which may be null, over `defaults`.
template <class T>
T known(const char* initialiser, const T* given, std::size_t least, T defaults) {
  if (given != nullptr && !take(given, least, defaults))
    throw Failure(SOFTMPC_ERROR_ARGUMENT,
                  "options.size: " + std::to_string(given->size) +
                      " is no size of them that this library knows, up to " +
                      std::to_string(sizeof defaults) + ": " + initialiser + " sets it");
  return defaults;
}

std::vector<float> array(const float* values, int count) {
  return values == nullptr ? std::vector<float>() : std::vector<float>(values, values + count);
}

Precision precision_named(const std::string& name) {
  Config config;
  try {
    apply_setting(config, "planner.precision=" + name);
  } catch (const UsageError& error) {
    throw UsageError(std::string("options.precision: ") + error.what());
  }
  return config.planner.precision;
}

}  // namespace

softmpc_options default_options() noexcept {
  softmpc_options options = {};
  options.size = sizeof options;
  options.seed = 1;
  options.threads = 1;
  options.state_margin = 1;
  return options;
}

softmpc_options known_options(const softmpc_options* given) {
  return known("softmpc_options_init()", given, SOFTMPC_END_OF(softmpc_options, seed),
               default_options());
}

ControllerOptions controller_options(const softmpc_options& given, int nu) {
  ControllerOptions options;
  options.seed = given.seed;
  options.threads = given.threads;
  options.device =
      given.device == nullptr ? Device::cpu : parse_device(given.device, "options.device");
  options.min_rollouts = given.min_rollouts;
  options.fallback = static_cast<Fallback>(choice("fallback", given.fallback, 3));
  options.max_fallbacks = given.max_fallbacks;
  options.rest = array(given.rest, nu);
  options.max_rate = array(given.max_rate, nu);
  options.max_state_age = Nanoseconds(given.max_state_age_ns);
  options.command_delay = Nanoseconds(given.command_delay_ns);
  options.state_margin = given.state_margin;
  options.reading = static_cast<Reading>(choice("reading", given.reading, 1));
  options.want_predicted = choice("want_predicted", given.want_predicted, 1) != 0;
  if (given.precision != nullptr) options.precision = precision_named(given.precision);
  if (given.black_box != nullptr) options.black_box = given.black_box;
  return options;
}

softmpc_runner_options default_runner_options() noexcept {
  softmpc_runner_options options = {};
  options.size = sizeof options;
  options.reading = SOFTMPC_READING_HOLD;
  options.cpu = -1;
  return options;
}

RunnerOptions runner_options(const softmpc_runner_options* given) {
  const softmpc_runner_options o =
      known("softmpc_runner_options_init()", given, SOFTMPC_END_OF(softmpc_runner_options, trigger),
            default_runner_options());
  return {.trigger = static_cast<Trigger>(choice("trigger", o.trigger, 1)),
          .period = Nanoseconds(o.period_ns),
          .budget = Nanoseconds(o.budget_ns),
          .reading = static_cast<Reading>(choice("reading", o.reading, 1)),
          .priority = o.priority,
          .cpu = o.cpu,
          .lock_memory = choice("lock_memory", o.lock_memory, 1) != 0};
}

}  // namespace softmpc::c
