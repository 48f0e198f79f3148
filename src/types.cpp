// SPDX-License-Identifier: Apache-2.0
#include "softmpc/types.h"

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
  }
  return "unknown";
}

}  // namespace softmpc
