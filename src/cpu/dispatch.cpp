// SPDX-License-Identifier: Apache-2.0
// Picks the kernels for this CPU.
#include <cstdlib>
#include <string>

#include "cpu/kernels.h"
#include "softmpc/error.h"

namespace softmpc::cpu {
namespace {

bool runs(const Kernels& table) {
#if defined(__x86_64__)
  if (&table == &kAvx512Bf16Kernels && !__builtin_cpu_supports("avx512bf16")) return false;
  if (&table == &kAvx512Kernels || &table == &kAvx512Bf16Kernels)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("fma");
  if (&table == &kAvx2Kernels)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
  return &table == &kPortableKernels;
}

const Kernels& choose() {
  // best first
  static const Kernels* const tables[] = {
#if defined(__x86_64__)
    &kAvx512Bf16Kernels,
    &kAvx512Kernels,
    &kAvx2Kernels,
#endif
    &kPortableKernels
  };
  const char* wanted = std::getenv("SOFTMPC_ISA");
  for (const Kernels* table : tables) {
    if (wanted && *wanted && std::string(wanted) != table->name) continue;
    if (runs(*table)) return *table;
    if (wanted && *wanted)
      throw UsageError("SOFTMPC_ISA: this CPU does not run " + std::string(wanted));
  }
  throw UsageError("SOFTMPC_ISA: " + std::string(wanted ? wanted : "") +
                   " is not one of portable, avx2, avx512, avx512bf16");
}

}  // namespace

const Kernels& kernels() {
  static const Kernels& table = choose();
  return table;
}

}  // namespace softmpc::cpu
