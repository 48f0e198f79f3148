// SPDX-License-Identifier: Apache-2.0
// The list: a line a kernel.
#include "fixed_kernels.h"

#include "cubin.h"
#include "kernel_text.h"

namespace softmpc::cuda {
namespace {

// No sizes, no rules.
KernelSource plain_source(const char* call, const char* header, const char* job, int threads) {
  KernelSource source;
  source.call = call;
  source.header = header;
  source.job = job;
  source.threads = threads;
  return source;
}

}  // namespace

const std::vector<FixedKernel>& fixed_kernels() {
  static const std::vector<FixedKernel> kernels = {
      // name, source, capabilities, registers, static shared bytes
      {"probe_draws", plain_source("probe_draws", "probe.cuh", "DrawJob", 256), {80, 90}, 32, 0},
  };
  return kernels;
}

std::string budget_error(const FixedKernel& kernel, std::string_view cubin) {
  const CubinFacts facts = read_cubin(cubin, kKernelName);
  const auto over = [&](const char* what, int value, int limit) {
    return kernel.name + ": " + what + " " + std::to_string(value) + ", at most " +
           std::to_string(limit) + " are allowed";
  };
  if (facts.registers > kernel.max_registers)
    return over("registers a thread", facts.registers, kernel.max_registers);
  if (facts.frame_bytes > 0)
    return over("bytes of local memory (spilled registers or local arrays)", facts.frame_bytes, 0);
  if (facts.static_shared > kernel.max_static_shared)
    return over("bytes of static shared memory", facts.static_shared, kernel.max_static_shared);
  return "";
}

}  // namespace softmpc::cuda
