// SPDX-License-Identifier: Apache-2.0
#include "softmpc/types.h"

#include <string>

#include "softmpc/error.h"

namespace softmpc {

const char* to_string(PlanStatus status) {
  switch (status) {
    case PlanStatus::ok:
      return "ok";
    case PlanStatus::all_invalid:
      return "all_invalid";
    case PlanStatus::not_finite:
      return "not_finite";
    case PlanStatus::bad_state:
      return "bad_state";
    case PlanStatus::deadline:
      return "deadline";
    case PlanStatus::no_time:
      return "no_time";
    case PlanStatus::rejected:
      return "rejected";
    case PlanStatus::stale_state:
      return "stale_state";
    case PlanStatus::unlikely_state:
      return "unlikely_state";
    case PlanStatus::user_error:
      return "user_error";
    case PlanStatus::device_fault:
      return "device_fault";
  }
  return "unknown";
}

const char* to_string(Device device) {
  switch (device) {
    case Device::cpu:
      return "cpu";
    case Device::cuda:
      return "cuda";
    case Device::automatic:
      return "auto";
  }
  return "unknown";
}

Device parse_device(std::string_view text, std::string_view what) {
  for (const Device d : {Device::cpu, Device::cuda, Device::automatic})
    if (text == to_string(d)) return d;
  throw UsageError(std::string(what) + ": '" + std::string(text) +
                   "' must be one of cpu, cuda, auto");
}

}  // namespace softmpc
