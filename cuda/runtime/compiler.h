// SPDX-License-Identifier: Apache-2.0
// NVRTC, CUDA's compiler as a library, loaded when a kernel first needs compiling.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace softmpc::cuda {

/// What every kernel is compiled with, by NVRTC; part of a cubin's identity.
std::vector<std::string> compile_options(const std::string& architecture);

class Compiler {
 public:
  /// The newest library whose code a driver of CUDA version `driver` (13000) takes; 0: any. Throws
  /// Error that says what was looked for and what helps.
  explicit Compiler(int driver = 0);

  int version() const;  ///< as CUDA_VERSION: 13000
  /// The architecture that a device of this capability is compiled for, perhaps an older one of its
  /// family. Throws Error if the library is too old for the device.
  std::string architecture(int capability) const;
  /// A cubin. Throws Error with the first errors; `what` names the kernel in it. `log`, if given,
  /// receives all that the compiler said.
  std::string compile(const std::string& text, std::string_view what,
                      const std::vector<std::string>& options, std::string* log = nullptr) const;

 private:
  struct Library;
  std::shared_ptr<const Library> library_;
};

}  // namespace softmpc::cuda
