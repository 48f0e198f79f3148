// SPDX-License-Identifier: Apache-2.0
// The functions of c_api.h: arguments are checked here, and nothing is thrown further.
#include "softmpc/c_api.h"

#include <algorithm>

#include "border.h"
#include "handle.h"
#include "options.h"
#include "softmpc/version.h"

namespace softmpc::c {
namespace {

softmpc_controller* open(const Bundle& bundle, const softmpc_options* given) {
  const softmpc_options options = known_options(given);
  const bool cuda = options.device != nullptr && std::string_view(options.device) == "cuda";
  return or_fail(cuda ? SOFTMPC_ERROR_DEVICE : SOFTMPC_ERROR_UNSUPPORTED,
                 [&] { return new softmpc_controller(options, bundle); });
}

/// Runs `work` as the handle's only user.
template <class Handle, class Work>
softmpc_result alone(Handle* controller, Work&& work) noexcept {
  if (controller == nullptr) return SOFTMPC_ERROR_ARGUMENT;
  const InUse mine(controller->used);
  if (!mine) return SOFTMPC_ERROR_BUSY;
  return guarded(nullptr, 0, std::forward<Work>(work));
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
  initialise(options, size, default_options());
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

void softmpc_close(softmpc_controller* controller) {
  if (controller != nullptr && !controller->running.load()) delete controller;
}

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

softmpc_result softmpc_set_bounds(softmpc_controller* controller, const float* low,
                                  const float* high) {
  if (low == nullptr || high == nullptr) return SOFTMPC_ERROR_ARGUMENT;
  return alone(controller, [&] {
    const auto nu = static_cast<std::size_t>(controller->controller.shape().nu);
    require(controller->controller.set_bounds({low, nu}, {high, nu}), "bounds");
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
    if (controller->running.load())
      throw Failure(SOFTMPC_ERROR_BUSY,
                    "controller: a runner has it, see softmpc_runner_prepare()");
    *out = prepare(*controller, read_bundle(bundle), [&](const softmpc::Bundle& other) {
      return softmpc::Prepared(controller->controller, other);
    });
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

softmpc_result softmpc_get_notes(const softmpc_controller* controller, char* text,
                                 size_t text_size) {
  if (text == nullptr || text_size == 0) return SOFTMPC_ERROR_ARGUMENT;
  return alone(controller, [&] { say(text, text_size, controller->controller.notes().c_str()); });
}

softmpc_result softmpc_get_statistics(const softmpc_controller* controller,
                                      softmpc_statistics* statistics) {
  softmpc_statistics s = {};
  if (!take(statistics, SOFTMPC_END_OF(softmpc_statistics, plans), s))
    return SOFTMPC_ERROR_ARGUMENT;
  return alone(controller, [&] {
    fill_statistics(controller->controller.statistics(), s);
    give(s, statistics);
  });
}
