// SPDX-License-Identifier: Apache-2.0
// The device that tests run kernels on: the emulator, or the machine's own where the environment
// variable SOFTMPC_TEST_DEVICE is "cuda".
#pragma once

#include <cstdlib>
#include <memory>
#include <string_view>

#include "emulator/emulated_device.h"
#include "softmpc/cuda.h"

namespace softmpc::cuda::testing {

inline bool on_hardware() {
  const char* wanted = std::getenv("SOFTMPC_TEST_DEVICE");
  return wanted != nullptr && std::string_view(wanted) == "cuda";
}

/// `capability` and `run` are the emulator's.
inline std::shared_ptr<Device> test_device(int capability = 90, emulator::RunOptions run = {}) {
  if (on_hardware()) return open_device();
  return std::make_shared<emulator::EmulatedDevice>(emulator::facts_of(capability), run);
}

}  // namespace softmpc::cuda::testing
