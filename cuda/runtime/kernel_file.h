// SPDX-License-Identifier: Apache-2.0
// Kernels compiled ahead, in a file that travels to machines without a compiler: safetensors, a
// cubin for each text and architecture.
#pragma once

#include <string>
#include <string_view>

#include "io/safetensors.h"

namespace softmpc::cuda {

/// Whether a device of `capability` runs a cubin made for `made`: an older one of its family.
bool runs_on(int made, int capability);

class KernelFile {
 public:
  KernelFile() = default;
  /// Throws Error naming `path` if it is no such file, or damaged.
  explicit KernelFile(const std::string& path);
  void write(const std::string& path);

  void add(std::string_view text, int capability, std::string_view cubin);
  /// The newest cubin of this text that a device of `capability` runs; empty if there is none.
  std::string find(std::string_view text, int capability) const;

 private:
  TensorFile file_;
};

/// From the files of use_kernels(), the last one first, and of $SOFTMPC_KERNELS; empty if none of
/// them has it.
std::string cubin_of_files(std::string_view text, int capability);

}  // namespace softmpc::cuda
