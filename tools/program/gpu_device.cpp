// SPDX-License-Identifier: Apache-2.0
#include "program/gpu_device.h"

namespace softmpc::tools {

std::string cuda_unavailable() { return cuda::unavailable(); }
std::shared_ptr<cuda::Device> cuda_device() { return cuda::open_device(); }

}  // namespace softmpc::tools
