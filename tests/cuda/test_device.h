// SPDX-License-Identifier: Apache-2.0
// The device that tests run kernels on: the emulator, or the machine's own where the environment
// variable SOFTMPC_TEST_DEVICE is "cuda".
#pragma once

#include <algorithm>
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

/// Random cases of a test, and inputs for each. On hardware a case takes seconds, in which NVRTC
/// compiles kernels of its sizes, and an input nothing: few cases with many inputs. The emulator
/// takes as long for one as for the other.
inline int case_count(int emulated, int most_on_hardware) {
  return on_hardware() ? std::min(emulated, most_on_hardware) : emulated;
}
inline int inputs_of_a_case() { return on_hardware() ? 10 : 1; }

/// The arguments are the emulator's: its compute capability, how many processors the choice of
/// tiles sees (0: those of the real one), the order that threads run in.
inline std::shared_ptr<Device> test_device(int capability = 90, int processors = 0,
                                           emulator::RunOptions run = {}) {
  if (on_hardware()) return open_device();
  DeviceFacts facts = emulator::facts_of(capability);
  if (processors > 0) facts.processors = processors;
  return std::make_shared<emulator::EmulatedDevice>(facts, run);
}

}  // namespace softmpc::cuda::testing
