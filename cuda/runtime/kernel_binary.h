// SPDX-License-Identifier: Apache-2.0
// From a kernel's source to its cubin: compiled ahead (in a file, or with the library), found in
// the cache, or compiled now.
#pragma once

#include <string>
#include <string_view>

#include "runtime/cubin_cache.h"
#include "runtime/device.h"

namespace softmpc::cuda {

struct KernelBinary {
  std::string cubin;
  Origin origin = Origin::compiler;
  std::string not_kept = {};  ///< of KernelFacts
};

/// For a device of this capability and a driver of CUDA version `driver` (13000). `from_ahead`
/// false passes over what was compiled ahead. Throws Error if the kernel does not compile, or
/// has to be compiled and there is no compiler.
KernelBinary kernel_binary(const KernelSource& source, int capability, int driver,
                           const CubinCache& cache, bool from_ahead = true);

/// A cubin that the library carries for this text; empty if none.
std::string_view precompiled_cubin(std::string_view text, int capability);

}  // namespace softmpc::cuda
