// SPDX-License-Identifier: Apache-2.0
// Compiling in tests: with NVRTC where it is, for every architecture that kernels are made for.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "runtime/compiler.h"
#include "runtime/cubin.h"
#include "runtime/kernel_text.h"
#include "softmpc/error.h"

namespace softmpc::cuda {

inline constexpr int kCapabilities[] = {80, 90};

/// The compiler, or null and why there is none.
inline std::unique_ptr<Compiler> find_compiler(std::string& why) {
  try {
    return std::make_unique<Compiler>();
  } catch (const Error& error) {
    why = error.what();
    return nullptr;
  }
}

#define SOFTMPC_COMPILER_OR_SKIP(name)                                        \
  std::string softmpc_why;                                                    \
  const std::unique_ptr<Compiler> softmpc_found = find_compiler(softmpc_why); \
  if (!softmpc_found) GTEST_SKIP() << softmpc_why;                            \
  [[maybe_unused]] const Compiler& name = *softmpc_found

inline std::string compile_text(const Compiler& compiler, const std::string& text, int capability,
                                std::string* log = nullptr, bool verbose = false) {
  auto options = compile_options(architecture_name(capability));
  if (verbose) options.push_back("--ptxas-options=-v");
  return compiler.compile(text, "the test's kernel", options, log);
}

/// A kernel whose body is a text of the test: `struct Job` and `void body(const Job&)`.
inline KernelSource test_kernel(const std::string& header, const std::string& text) {
  KernelSource source;
  source.call = "body";
  source.header = header;
  source.job = "Job";
  source.rules.type = "Job";  // rules are the place for more text
  source.rules.source = "namespace softmpc::cuda {\n" + text + "\n}\n";
  return source;
}

}  // namespace softmpc::cuda
