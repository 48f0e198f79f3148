// SPDX-License-Identifier: Apache-2.0
// The program's CUDA device. A seam: the tests' program has an emulated one here.
#pragma once

#include <memory>
#include <string>

#include "softmpc/controller.h"
#include "softmpc/cuda.h"

namespace softmpc::tools {

/// Why there is none, in one sentence; empty if there is one.
std::string cuda_unavailable();
/// Throws Error with that sentence.
std::shared_ptr<cuda::Device> cuda_device();
/// A controller on options.device, which must be resolved.
inline Controller make_controller(const Bundle& bundle, const RewardModel* reward,
                                  ControllerOptions options) {
  cuda::DeviceOptions on;
  if (options.device == Device::cuda) on.device = cuda_device();
  options.cuda = &on;
  return Controller(bundle, reward, options);
}

}  // namespace softmpc::tools
