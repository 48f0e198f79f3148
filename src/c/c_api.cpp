// SPDX-License-Identifier: Apache-2.0
// The functions of c_api.h: arguments are checked here, and nothing is thrown further.
#include "softmpc/c_api.h"

#include <algorithm>
#include <iterator>

#include "border.h"
#include "handle.h"
#include "io/atomic_file.h"
#include "options.h"
#include "softmpc/version.h"

namespace softmpc::c {
namespace {

void require(bool holds, const char* rule) {
  if (!holds) throw Failure(SOFTMPC_ERROR_ARGUMENT, rule);
}

Bundle read_bundle(const char* path) {
  const std::string bytes = or_fail(SOFTMPC_ERROR_FILE, [&] { return read_file(path); });
  return or_fail(SOFTMPC_ERROR_FORMAT,
                 [&] { return load_bundle(std::as_bytes(std::span(bytes)), path); });
}

softmpc_controller* open(const Bundle& bundle, const softmpc_options* given) {
  const softmpc_options options = known_options(given);
  const bool cuda = options.device != nullptr && std::string_view(options.device) == "cuda";
  return or_fail(cuda ? SOFTMPC_ERROR_DEVICE : SOFTMPC_ERROR_UNSUPPORTED,
                 [&] { return new softmpc_controller(options, bundle); });
}

softmpc_prepared* prepare(const softmpc_controller& c, const Bundle& bundle) {
  check_bundle_for(c.options, bundle);
  return or_fail(SOFTMPC_ERROR_UNSUPPORTED, [&] {
    return new softmpc_prepared{Prepared(c.controller, bundle), net_sizes(c.options, bundle),
                                c.identity};
  });
}

/// Runs `work` as the handle's only user.
template <class Handle, class Work>
softmpc_result alone(Handle* controller, Work&& work) noexcept {
  if (controller == nullptr) return SOFTMPC_ERROR_ARGUMENT;
  const InUse mine(controller->used);
  if (!mine) return SOFTMPC_ERROR_BUSY;
  return guarded(nullptr, 0, std::forward<Work>(work));
}

std::int64_t percentile(const Statistics& s, double share) noexcept {
  return s.latency.percentile(share).count();
}

void fill(const Statistics& s, softmpc_statistics& out) noexcept {
  static_assert(kPlanStatuses <= std::size(softmpc_statistics{}.by_status));
  out.plans = s.plans;
  std::ranges::copy(s.by_status, out.by_status);
  out.fallbacks = s.fallbacks;
  out.rests = s.rests;
  out.callback_errors = s.callback_errors;
  out.clipped = s.clipped;
  out.rate_limited = s.rate_limited;
  out.time_backwards = s.time_backwards;
  out.cold_starts = s.cold_starts;
  out.swaps = s.swaps;
  out.p50_ns = percentile(s, 0.5);
  out.p90_ns = percentile(s, 0.9);
  out.p99_ns = percentile(s, 0.99);
  out.p999_ns = percentile(s, 0.999);
  out.max_ns = s.latency.longest().count();
}

constexpr const char* kResults[] = {"done",   "argument", "file",        "format", "version",
                                    "memory", "device",   "unsupported", "busy",   "internal"};

}  // namespace
}  // namespace softmpc::c

using namespace softmpc::c;

uint32_t softmpc_abi(void) { return SOFTMPC_ABI; }

const char* softmpc_version(void) { return SOFTMPC_VERSION_STRING; }

const char* softmpc_status_name(softmpc_status status) {
  if (status == SOFTMPC_STATUS_WRONG_ARGUMENT) return "wrong_argument";
  if (status < 0 || status >= softmpc::kPlanStatuses) return "unknown";
  return softmpc::to_string(static_cast<softmpc::PlanStatus>(status));
}

const char* softmpc_result_name(softmpc_result result) {
  if (result > 0 || result < SOFTMPC_ERROR_INTERNAL) return "unknown";
  return kResults[-result];
}

void softmpc_options_init(softmpc_options* options, size_t size) {
  if (options == nullptr || size < sizeof size) return;
  std::memset(static_cast<void*>(options), 0, size);
  const softmpc_options defaults = default_options();
  std::memcpy(static_cast<void*>(options), &defaults, std::min(size, sizeof defaults));
  std::memcpy(static_cast<void*>(options), &size, sizeof size);
}

softmpc_result softmpc_open(const char* bundle, const softmpc_options* options,
                            softmpc_controller** out, char* error, size_t error_size) {
  if (out != nullptr) *out = nullptr;
  return guarded(error, error_size, [&] {
    require(bundle != nullptr, "bundle: is NULL, must be a path");
    require(out != nullptr, "out: is NULL, must be where the handle goes");
    *out = open(read_bundle(bundle), options);
  });
}

softmpc_result softmpc_open_memory(const void* data, size_t bytes, const softmpc_options* options,
                                   softmpc_controller** out, char* error, size_t error_size) {
  if (out != nullptr) *out = nullptr;
  return guarded(error, error_size, [&] {
    require(data != nullptr, "data: is NULL, must be the bytes of a bundle");
    require(out != nullptr, "out: is NULL, must be where the handle goes");
    const std::span<const std::byte> file(static_cast<const std::byte*>(data), bytes);
    const auto bundle =
        or_fail(SOFTMPC_ERROR_FORMAT, [&] { return softmpc::load_bundle(file, "memory"); });
    *out = open(bundle, options);
  });
}

void softmpc_close(softmpc_controller* controller) { delete controller; }

softmpc_result softmpc_get_sizes(const softmpc_controller* controller, softmpc_sizes* sizes) {
  softmpc_sizes s = {};
  if (!take(sizes, SOFTMPC_END_OF(softmpc_sizes, nu), s)) return SOFTMPC_ERROR_ARGUMENT;
  return alone(controller, [&] {
    s.nx = controller->controller.shape().nx;
    s.nu = controller->controller.shape().nu;
    s.horizon = controller->horizon();
    s.rollouts = controller->sizes.rollouts;
    s.members = controller->sizes.members;
    s.reserved = 0;
    s.dt = controller->controller.dt();
    s.state_bytes = controller->controller.state_size();
    give(s, sizes);
  });
}

softmpc_result softmpc_get_bounds(const softmpc_controller* controller, float* low, float* high) {
  if (low == nullptr || high == nullptr) return SOFTMPC_ERROR_ARGUMENT;
  return alone(controller, [&] {
    std::ranges::copy(controller->controller.shape().action_low, low);
    std::ranges::copy(controller->controller.shape().action_high, high);
  });
}

softmpc_status softmpc_plan(softmpc_controller* controller, const softmpc_request* request,
                            softmpc_plan_out* plan) {
  softmpc_request in = {};
  softmpc_plan_out out = {};
  if (controller == nullptr || !take(request, SOFTMPC_END_OF(softmpc_request, state), in) ||
      !take(plan, SOFTMPC_END_OF(softmpc_plan_out, action), out) || in.state == nullptr ||
      out.action == nullptr)
    return SOFTMPC_STATUS_WRONG_ARGUMENT;
  const InUse mine(controller->used);
  if (!mine) return SOFTMPC_STATUS_WRONG_ARGUMENT;
  controller->plan(in, out);
  give(out, plan);
  return out.status;
}

softmpc_result softmpc_reset(softmpc_controller* controller) {
  return alone(controller, [&] { controller->controller.reset(); });
}

softmpc_result softmpc_save_state(const softmpc_controller* controller, void* data, size_t bytes) {
  if (data == nullptr) return SOFTMPC_ERROR_ARGUMENT;
  return alone(controller, [&] {
    require(controller->controller.save_state({static_cast<std::byte*>(data), bytes}), "bytes");
  });
}

softmpc_result softmpc_load_state(softmpc_controller* controller, const void* data, size_t bytes) {
  if (data == nullptr) return SOFTMPC_ERROR_ARGUMENT;
  return alone(controller, [&] {
    require(controller->controller.load_state({static_cast<const std::byte*>(data), bytes}),
            "state");
  });
}

softmpc_result softmpc_prepare(const softmpc_controller* controller, const char* bundle,
                               softmpc_prepared** out, char* error, size_t error_size) {
  if (out != nullptr) *out = nullptr;
  return guarded(error, error_size, [&] {
    require(controller != nullptr, "controller: is NULL");
    require(bundle != nullptr, "bundle: is NULL, must be a path");
    require(out != nullptr, "out: is NULL, must be where the handle goes");
    *out = prepare(*controller, read_bundle(bundle));
  });
}

softmpc_result softmpc_swap(softmpc_controller* controller, softmpc_prepared* prepared) {
  if (controller == nullptr || prepared == nullptr || prepared->identity != controller->identity)
    return SOFTMPC_ERROR_ARGUMENT;
  return alone(controller, [&] {
    controller->controller.swap(prepared->nets);
    std::swap(controller->sizes, prepared->sizes);
  });
}

void softmpc_prepared_free(softmpc_prepared* prepared) { delete prepared; }

softmpc_result softmpc_get_statistics(const softmpc_controller* controller,
                                      softmpc_statistics* statistics) {
  softmpc_statistics s = {};
  if (!take(statistics, SOFTMPC_END_OF(softmpc_statistics, plans), s))
    return SOFTMPC_ERROR_ARGUMENT;
  return alone(controller, [&] {
    fill(controller->controller.statistics(), s);
    give(s, statistics);
  });
}
