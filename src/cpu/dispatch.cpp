// SPDX-License-Identifier: Apache-2.0
// Picks the kernels for this CPU.
#include <cstdlib>
#include <string>

#include "cpu/kernels.h"
#include "onednn/onednn_mlp.h"
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

/// What SOFTMPC_ISA asks for; empty where it is not set.
std::string wanted_isa() {
  const char* wanted = std::getenv("SOFTMPC_ISA");
  return wanted ? wanted : "";
}

void require_onednn() {
  if (!OneDnnMlp::built())
    throw UsageError(
        "SOFTMPC_ISA: this build has no oneDNN; configure with -DSOFTMPC_WITH_ONEDNN=ON");
  if (!OneDnnMlp::usable())
    throw UsageError("SOFTMPC_ISA: oneDNN has no bfloat16 products for this CPU");
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
  const std::string wanted = wanted_isa();
  if (wanted == "onednn") require_onednn();
  const bool any = wanted.empty() || wanted == "onednn";
  for (const Kernels* table : tables) {
    if (!any && wanted != table->name) continue;
    if (runs(*table)) return *table;
    if (!any) throw UsageError("SOFTMPC_ISA: this CPU does not run " + wanted);
  }
  throw UsageError("SOFTMPC_ISA: " + wanted +
                   " is not one of portable, avx2, avx512, avx512bf16, onednn");
}

bool choose_onednn() {
  kernels();  // whose complaints hold here too
  const std::string wanted = wanted_isa();
  return wanted == "onednn" || (wanted.empty() && OneDnnMlp::has_amx());
}

}  // namespace

const Kernels& kernels() {
  static const Kernels& table = choose();
  return table;
}

bool through_onednn() {
  static const bool chosen = choose_onednn();
  return chosen;
}

}  // namespace softmpc::cpu
