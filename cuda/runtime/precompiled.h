// SPDX-License-Identifier: Apache-2.0
// The fixed kernels' cubins in the library. The list is made by the build (softmpc_kernels
// --build).
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace softmpc::cuda {

struct PrecompiledKernel {
  std::string_view fingerprint;  ///< of the kernel's text
  std::size_t text_size;
  int capability;
  std::string_view cubin;
};

std::span<const PrecompiledKernel> precompiled_kernels();

}  // namespace softmpc::cuda
