// SPDX-License-Identifier: Apache-2.0
// The JSON at the head of a black box: who recorded, and the options of the controller.
#pragma once

#include <cstddef>
#include <string>

#include "softmpc/controller.h"

namespace softmpc {

/// What a header says beside the options.
struct BlackBoxOrigin {
  std::string softmpc, compiler, instruction_set, device, task;
  int nx = 0, nu = 0, horizon = 0;
  std::size_t state_bytes = 0;
  double dt = 0;
  /// Of this program, on this machine.
  static BlackBoxOrigin here();
  /// Whether plans of both are the same bits.
  bool same_program(const BlackBoxOrigin& other) const;
};

std::string black_box_header(const BlackBoxOrigin& origin, const PlannerConfig& planner,
                             const ControllerOptions& options);
/// Throws Error where `text` is no such header; callbacks of the options are stand-ins.
BlackBoxOrigin read_black_box_header(const std::string& text, ControllerOptions& options);

}  // namespace softmpc
