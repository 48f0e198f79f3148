// SPDX-License-Identifier: Apache-2.0
// Our kernels, a base per precision and instruction set that this CPU runs, and a bfloat16 network
// by way of oneDNN as the planner takes it.
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
          layer.shape.out,     layer.shape.silu ? cpu::Activation::silu : cpu::Activation::none};
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
}

void run_onednn_mlp(benchmark::State& state, Work work, int rows) {
  const std::vector<GroupedLayer> net = grouped(work);
  std::vector<int> sizes = {net.front().shape.in};
  for (const GroupedLayer& layer : net) sizes.push_back(layer.shape.out);
  OneDnnMlp mlp(1, sizes, cpu::Activation::none);
  for (std::size_t l = 0; l < net.size(); ++l) mlp.load(0, l, view(net[l]));
  const float* input = nullptr;
  run_tiles(state, work, rows, kTile, [&](std::size_t l, const float* in, int lanes, float* out) {
    if (l == 0) input = in;
    if (l + 1 == net.size()) mlp.run(0, input, out, lanes);
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
  if (OneDnnMlp::usable()) register_cases("onednn_mlp_bf16", run_onednn_mlp, true);
  return true;
}();

}  // namespace
}  // namespace softmpc::bench
