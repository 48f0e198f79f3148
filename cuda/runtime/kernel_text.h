// SPDX-License-Identifier: Apache-2.0
// The one text of a specialised kernel: no system header, no file beside it. The same text gives
// the same cubin, at build time and at load.
#pragma once

#include <string>

#include "runtime/device.h"

namespace softmpc::cuda {

/// Name of the kernel in every text.
inline constexpr const char* kKernelName = "softmpc_kernel";

/// Throws Error for a header that is not built into the library.
std::string kernel_text(const KernelSource& source);

/// "sm_80", "sm_90a": of capability 90 the kernels use what only that architecture has.
std::string architecture_name(int capability);

}  // namespace softmpc::cuda
