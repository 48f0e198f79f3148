// SPDX-License-Identifier: Apache-2.0
// The device of the tests' program: --device cuda runs the kernels on the emulator.
#include <cstdlib>

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

namespace {

/// Is lost at its wait of number SOFTMPC_TEST_LOST_AT, and stays so.
class LosableDevice final : public cuda::emulator::EmulatedDevice {
 public:
  void synchronise() override {
    if (left_ > 0 && --left_ == 0) lost_ = true;
    if (lost_) throw cuda::DeviceLost("waiting for the device: CUDA_ERROR_LAUNCH_FAILED: lost");
    EmulatedDevice::synchronise();
  }

 private:
  static int waits_until_lost() {
    const char* number = std::getenv("SOFTMPC_TEST_LOST_AT");
    return number == nullptr ? 0 : std::atoi(number);
  }
  int left_ = waits_until_lost();
  bool lost_ = false;
};

}  // namespace

std::string cuda_unavailable() { return ""; }
std::shared_ptr<cuda::Device> cuda_device() {
  static const auto device = std::make_shared<LosableDevice>();
  return device;
}

}  // namespace softmpc::tools
