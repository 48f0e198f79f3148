// SPDX-License-Identifier: Apache-2.0
// The device of a build without CUDA.
#include "runtime/device.h"
#include "softmpc/cuda.h"
#include "softmpc/error.h"

namespace softmpc::cuda {

std::string unavailable() {
  return "this build of softmpc has no CUDA: build it with a CUDA toolkit of 12.0 or later "
         "(-DSOFTMPC_WITH_CUDA=ON)";
}

std::shared_ptr<Device> open_device() { throw Error(unavailable()); }

CompiledKernels compile_kernels(const std::string&, std::span<const int>,
                                const std::function<void(const DeviceOptions&)>&) {
  throw Error(unavailable());
}

void use_kernels(const std::string&) { throw Error(unavailable()); }

}  // namespace softmpc::cuda
