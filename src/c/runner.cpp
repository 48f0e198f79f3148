// SPDX-License-Identifier: Apache-2.0
// The runner of c_api.h.
#include <algorithm>
#include <mutex>
#include <utility>

#include "border.h"
#include "handle.h"
#include "options.h"
#include "softmpc/runner.h"

using namespace softmpc::c;

struct softmpc_runner {
  /// Where it throws the handle has its controller still.
  softmpc_runner(softmpc_controller& given, const softmpc::RunnerOptions& options)
      : handle(given),
        nx(static_cast<std::size_t>(given.controller.shape().nx)),
        nu(static_cast<std::size_t>(given.controller.shape().nu)),
        swaps_before(given.controller.statistics().swaps),
        sizes(given.sizes),
        offered_sizes(given.sizes),
        runner(std::move(given.controller), options) {}

  /// The controller is the handle's again, with the sizes of the nets that it has now.
  void stop() {
    handle.controller = runner.stop();
    const std::uint64_t swaps = handle.controller.statistics().swaps - swaps_before;
    handle.sizes = swaps == offers ? offered_sizes : sizes;
  }

  softmpc_controller& handle;
  const std::size_t nx, nu;
  const std::uint64_t swaps_before;
  std::atomic_flag submitting;
  std::mutex offering;
  std::uint64_t offers = 0;       // taken; all but the last have been swapped
  NetSizes sizes, offered_sizes;  // before the last offer, and of it
  softmpc::Runner runner;
};

void softmpc_runner_options_init(softmpc_runner_options* options, size_t size) {
  initialise(options, size, default_runner_options());
}

softmpc_result softmpc_runner_start(softmpc_controller* controller,
                                    const softmpc_runner_options* options, softmpc_runner** out,
                                    char* error, size_t error_size) {
  if (out != nullptr) *out = nullptr;
  return guarded(error, error_size, [&] {
    require(controller != nullptr, "controller: is NULL");
    require(out != nullptr, "out: is NULL, must be where the handle goes");
    const softmpc::RunnerOptions known = runner_options(options);
    InUse mine(controller->used);
    if (!mine) throw Failure(SOFTMPC_ERROR_BUSY, "controller: it is in use");
    *out = or_fail(SOFTMPC_ERROR_MEMORY, [&] { return new softmpc_runner(*controller, known); });
    controller->running.store(true);
    mine.keep();
  });
}

softmpc_result softmpc_runner_stop(softmpc_runner* runner, softmpc_controller** out) {
  if (out != nullptr) *out = nullptr;
  if (runner == nullptr || out == nullptr) return SOFTMPC_ERROR_ARGUMENT;
  if (callbacks_here > 0) return SOFTMPC_ERROR_BUSY;  // whose plan it would wait for
  return guarded(nullptr, 0, [&] {
    softmpc_controller& handle = runner->handle;
    runner->stop();
    delete runner;
    handle.running.store(false);
    handle.used.clear(std::memory_order_release);
    *out = &handle;
  });
}

softmpc_result softmpc_runner_submit(softmpc_runner* runner, const float* state, size_t state_count,
                                     int64_t measured_ns) {
  if (runner == nullptr || state == nullptr || measured_ns == 0 ||
      (state_count != 0 && state_count != runner->nx))
    return SOFTMPC_ERROR_ARGUMENT;
  const InUse mine(runner->submitting);
  if (!mine) return SOFTMPC_ERROR_BUSY;
  runner->runner.submit({state, runner->nx}, softmpc::Nanoseconds(measured_ns));
  return SOFTMPC_DONE;
}

softmpc_result softmpc_runner_command_at(const softmpc_runner* runner, int64_t t_ns, float* action,
                                         softmpc_command_info* info) {
  softmpc_command_info out = {};
  if (runner == nullptr || action == nullptr ||
      (info != nullptr && !take(info, SOFTMPC_END_OF(softmpc_command_info, known), out)))
    return SOFTMPC_ERROR_ARGUMENT;
  const softmpc::CommandInfo from =
      runner->runner.command_at(softmpc::Nanoseconds(t_ns), {action, runner->nu});
  if (info == nullptr) return SOFTMPC_DONE;
  out.known = from.known;
  out.beyond_horizon = from.beyond_horizon;
  out.from_fallback = from.from_fallback;
  out.status = static_cast<softmpc_status>(from.status);
  out.index = from.index;
  out.bundle_hash = from.bundle_hash;
  out.state_time_ns = from.state_time.count();
  out.age_ns = from.age.count();
  give(out, info);
  return SOFTMPC_DONE;
}

softmpc_result softmpc_runner_prepare(const softmpc_runner* runner, const char* bundle,
                                      softmpc_prepared** out, char* error, size_t error_size) {
  if (out != nullptr) *out = nullptr;
  return guarded(error, error_size, [&] {
    require(runner != nullptr, "runner: is NULL");
    require(bundle != nullptr, "bundle: is NULL, must be a path");
    require(out != nullptr, "out: is NULL, must be where the handle goes");
    *out = prepare(runner->handle, read_bundle(bundle),
                   [&](const softmpc::Bundle& other) { return runner->runner.prepare(other); });
  });
}

softmpc_result softmpc_runner_offer(softmpc_runner* runner, softmpc_prepared* prepared) {
  if (runner == nullptr || prepared == nullptr || prepared->identity != runner->handle.identity)
    return SOFTMPC_ERROR_ARGUMENT;
  return guarded(nullptr, 0, [&] {
    {
      const std::lock_guard lock(runner->offering);
      if (!runner->runner.offer(std::move(prepared->nets)))
        throw Failure(SOFTMPC_ERROR_BUSY, "an earlier offer waits for its plan");
      ++runner->offers;
      runner->sizes = std::exchange(runner->offered_sizes, prepared->sizes);
    }
    delete prepared;
  });
}

softmpc_result softmpc_runner_get_statistics(const softmpc_runner* runner,
                                             softmpc_statistics* statistics) {
  softmpc_statistics s = {};
  if (runner == nullptr || !take(statistics, SOFTMPC_END_OF(softmpc_statistics, plans), s))
    return SOFTMPC_ERROR_ARGUMENT;
  return guarded(nullptr, 0, [&] {
    fill_statistics(runner->runner.statistics(), s);
    give(s, statistics);
  });
}

softmpc_result softmpc_runner_notes(const softmpc_runner* runner, char* text, size_t text_size) {
  if (runner == nullptr || text == nullptr || text_size == 0) return SOFTMPC_ERROR_ARGUMENT;
  say(text, text_size, runner->runner.notes().c_str());
  return SOFTMPC_DONE;
}
