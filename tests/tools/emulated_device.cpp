// SPDX-License-Identifier: Apache-2.0
// The device of the tests' program: --device cuda runs the kernels on the emulator.
#include "emulated_kernels/widths.h"
#include "kernels/rollout_wgmma.cuh"
#include "tools/program/gpu_device.h"

namespace softmpc::cuda {

// shapes of the golden files that the planner's tests do not come to
using Narrow = emulator::WidthList<Equal<64>>;
SOFTMPC_EMULATE(RolloutJob, Narrow,
                rollout_wgmma<Sizes, Rules, 32, Number::f16, Operands::edges, Operands::split>);
SOFTMPC_EMULATE(RolloutJob, Narrow,
                rollout_wgmma<Sizes, Rules, 32, Number::bf16, Operands::edges, Operands::split>);

}  // namespace softmpc::cuda

namespace softmpc::tools {

std::string cuda_unavailable() { return ""; }
std::shared_ptr<cuda::Device> cuda_device() {
  static const auto device = std::make_shared<cuda::emulator::EmulatedDevice>();
  return device;
}

}  // namespace softmpc::tools
