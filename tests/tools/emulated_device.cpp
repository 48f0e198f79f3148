// SPDX-License-Identifier: Apache-2.0
// The device of the tests' program: --device cuda runs the kernels on the emulator.
#include "planner_kernels.h"
#include "tools/gpu_device.h"

namespace softmpc::tools {

std::string cuda_unavailable() { return ""; }
std::shared_ptr<cuda::Device> cuda_device() {
  static const auto device = std::make_shared<cuda::emulator::EmulatedDevice>();
  return device;
}

}  // namespace softmpc::tools
