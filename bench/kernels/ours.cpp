// SPDX-License-Identifier: Apache-2.0
// Our kernels, a base per precision and instruction set that this CPU runs, and the net with
// bfloat16 between hidden layers as the planner computes it, by our kernels and by oneDNN.
#include "cpu/kernels.h"
#include "onednn/onednn_mlp.h"
#include "tiles.h"

namespace softmpc::bench {
namespace {

std::vector<GroupedLayer> grouped(Work work) {
  std::vector<GroupedLayer> net;
  for (const Shape& s : layers(work)) net.emplace_back(s, cpu::kGroup);
  return net;
}

cpu::PackedLayer view(const GroupedLayer& layer) {
  return {layer.weight.data(), layer.bias.data(),
          layer.pairs.data(),  layer.shape.in,
          layer.shape.out,     layer.shape.silu ? Activation::silu : Activation::none};
}

void run_float32(benchmark::State& state, const cpu::Kernels& kernels, Work work, int rows) {
  const std::vector<GroupedLayer> net = grouped(work);
  run_tiles(state, work, rows, kTile, [&](std::size_t l, const float* in, int lanes, float* out) {
    kernels.dense(view(net[l]), in, lanes, out, lanes, lanes);
  });
}

// Input and result are float32 as the planner has them; rounding the input is part of the time.
void run_bfloat16(benchmark::State& state, const cpu::Kernels& kernels, Work work, int rows) {
  const std::vector<GroupedLayer> net = grouped(work);
  std::vector<cpu::Bf16Pair, cpu::CacheLineAllocator<cpu::Bf16Pair>> block[2];
  for (auto& b : block) b.resize(128 * kTile);
  run_tiles(state, work, rows, kTile, [&](std::size_t l, const float* in, int lanes, float* out) {
    if (l == 0) kernels.to_bf16(in, net[0].shape.in, lanes, block[0].data(), lanes, lanes);
    kernels.dense_bf16(view(net[l]), block[l % 2].data(), lanes,
                       l + 1 == net.size() ? out : nullptr, block[(l + 1) % 2].data(), lanes,
                       lanes);
  });
}

// As the planner calls them: the first and the last layer take float32.
void run_planned(benchmark::State& state, const cpu::Kernels& kernels, Work work, int rows) {
  const std::vector<GroupedLayer> net = grouped(work);
  std::vector<cpu::Bf16Pair, cpu::CacheLineAllocator<cpu::Bf16Pair>> pairs(128 * kTile);
  run_tiles(state, work, rows, kTile, [&](std::size_t l, const float* in, int lanes, float* out) {
    if (l == 0)
      kernels.dense_to_bf16(view(net[l]), in, lanes, pairs.data(), lanes, lanes);
    else if (l == 1)
      kernels.dense_bf16(view(net[l]), pairs.data(), lanes, out, nullptr, lanes, lanes);
    else
      kernels.dense(view(net[l]), in, lanes, out, lanes, lanes);
  });
}

void add(const cpu::Kernels& kernels) {
  if (!kernels.native_bf16)
    register_cases(std::string("ours_f32_") + kernels.name,
                   [&](benchmark::State& state, Work work, int rows) {
                     run_float32(state, kernels, work, rows);
                   });
  register_cases(std::string("ours_bf16_") + kernels.name,
                 [&](benchmark::State& state, Work work, int rows) {
                   run_bfloat16(state, kernels, work, rows);
                 });
  register_cases(
      std::string("ours_planned_") + kernels.name,
      [&](benchmark::State& state, Work work, int rows) {
        run_planned(state, kernels, work, rows);
      },
      true);
}

void run_planned_onednn(benchmark::State& state, Work work, int rows) {
  const std::vector<GroupedLayer> net = grouped(work);
  OneDnnMlp mlp(1, {net[1].shape.in, net[1].shape.out});
  mlp.load(0, 0, view(net[1]));
  run_tiles(state, work, rows, kTile, [&](std::size_t l, const float* in, int lanes, float* out) {
    if (l == 1)
      mlp.run(0, in, out, lanes);
    else
      cpu::kernels().dense(view(net[l]), in, lanes, out, lanes, lanes);
  });
}

const bool registered = [] {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) {
    if (__builtin_cpu_supports("avx512bf16")) add(cpu::kAvx512Bf16Kernels);
    add(cpu::kAvx512Kernels);
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) add(cpu::kAvx2Kernels);
#endif
  add(cpu::kPortableKernels);
  if (OneDnnMlp::usable()) register_cases("onednn_planned", run_planned_onednn, true);
  return true;
}();

}  // namespace
}  // namespace softmpc::bench
