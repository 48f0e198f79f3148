// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>

#include "emulator/machine.h"
#include "softmpc/error.h"

namespace softmpc::cuda::test {

/// The text of the Error that a run ends with; empty if none.
inline std::string error_of(const emulator::Grid& grid, const emulator::RunOptions& options,
                            const std::function<void()>& body) {
  try {
    emulator::run(grid, options, body);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace softmpc::cuda::test
