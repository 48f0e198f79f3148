// SPDX-License-Identifier: Apache-2.0
// Kernels that are compiled with the library: each within a budget that the build enforces, and
// carried in the library, so that they run without NVRTC.
#pragma once

#include <string>
#include <vector>

#include "runtime/device.h"

namespace softmpc::cuda {

struct FixedKernel {
  std::string name;
  KernelSource source;
  std::vector<int> capabilities;  ///< of 80, 90
  int max_registers = 255;        ///< a thread; local memory is never allowed
  int max_static_shared = 0;      ///< bytes a block
  int max_to_integer = 0;         ///< CubinFacts::to_integer(): divisions by what is no constant
};

const std::vector<FixedKernel>& fixed_kernels();

/// Why a cubin of this kernel breaks its budget, in one sentence; empty if it does not.
std::string budget_error(const FixedKernel& kernel, std::string_view cubin);

}  // namespace softmpc::cuda
