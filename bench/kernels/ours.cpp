// SPDX-License-Identifier: Apache-2.0
// Our kernels, one base per instruction set that this CPU runs.
#include "cpu/kernels.h"
#include "tiles.h"

namespace softmpc::bench {
namespace {

static_assert(kGroup == cpu::kGroup);

void run(benchmark::State& state, const cpu::Kernels& kernels, Work work, int rows) {
  std::vector<GroupedLayer> net;
  for (const Shape& s : layers(work)) net.emplace_back(s);
  run_tiles(state, work, rows, kTile, [&](std::size_t l, const float* in, int lanes, float* out) {
    const Shape& s = net[l].shape;
    const cpu::PackedLayer packed = {net[l].weight.data(), net[l].bias.data(), s.in, s.out,
                                     s.silu ? cpu::Activation::silu : cpu::Activation::none};
    kernels.dense(packed, in, lanes, out, lanes, lanes);
  });
}

void add(const cpu::Kernels& kernels) {
  register_cases(std::string("ours_f32_") + kernels.name,
                 [&kernels](benchmark::State& state, Work work, int rows) {
                   run(state, kernels, work, rows);
                 });
}

const bool registered = [] {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
    add(cpu::kAvx512Kernels);
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) add(cpu::kAvx2Kernels);
#endif
  add(cpu::kPortableKernels);
  return true;
}();

}  // namespace
}  // namespace softmpc::bench
