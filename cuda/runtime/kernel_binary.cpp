// SPDX-License-Identifier: Apache-2.0
// Where cubins come from.
#include "runtime/kernel_binary.h"

#include "runtime/compiler.h"
#include "runtime/kernel_file.h"
#include "runtime/kernel_text.h"
#include "runtime/precompiled.h"

namespace softmpc::cuda {

std::string_view precompiled_cubin(std::string_view text, int capability) {
  const std::string print = fingerprint(text);
  for (const PrecompiledKernel& kernel : precompiled_kernels()) {
    if (runs_on(kernel.capability, capability) && kernel.text_size == text.size() &&
        kernel.fingerprint == print) {
      return kernel.cubin;
    }
  }
  return {};
}

KernelBinary kernel_binary(const KernelSource& source, int capability, int driver,
                           const CubinCache& cache, bool from_ahead) {
  const std::string text = kernel_text(source);
  if (from_ahead) {
    if (std::string cubin = cubin_of_files(text, capability); !cubin.empty())
      return {std::move(cubin), Origin::file};
    const std::string_view cubin = precompiled_cubin(text, capability);
    if (!cubin.empty()) return {std::string(cubin), Origin::library};
  }
  const Compiler compiler(driver);
  const auto options = compile_options(compiler.architecture(capability));
  std::string key = "NVRTC " + std::to_string(compiler.version());
  for (const std::string& option : options) key += ' ' + option;
  key += '\n' + text;
  if (std::optional<std::string> cubin = cache.find(key)) return {std::move(*cubin), Origin::cache};
  KernelBinary made{compiler.compile(text, source.call, options), Origin::compiler};
  made.not_kept = cache.store(key, made.cubin);
  return made;
}

}  // namespace softmpc::cuda
