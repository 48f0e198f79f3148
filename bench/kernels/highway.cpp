// SPDX-License-Identifier: Apache-2.0
// Our float32 micro-kernel written with Google Highway: the same register tile, its run-time
// choice of instruction set, SiLU once with its Exp and once with our polynomial.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "highway.cpp"
#include <hwy/foreach_target.h>

// after it, in this order
#include <hwy/highway.h>

#include <hwy/contrib/math/math-inl.h>

#include "highway_kernel-inl.h"

#if HWY_ONCE
#include "tiles.h"

namespace softmpc::bench {
namespace {

HWY_EXPORT(DenseLibrary);
HWY_EXPORT(DensePolynomial);

using Dense = void (*)(const float*, const float*, int, int, bool, const float*, float*, int);

void run(benchmark::State& state, Dense dense, Work work, int rows) {
  std::vector<GroupedLayer> net;
  for (const Shape& s : layers(work)) net.emplace_back(s, 8);
  run_tiles(state, work, rows, kTile, [&](std::size_t l, const float* in, int lanes, float* out) {
    const Shape& s = net[l].shape;
    dense(net[l].weight.data(), net[l].bias.data(), s.in, s.out, s.silu, in, out, lanes);
  });
}

const bool registered = [] {
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  register_cases("highway_f32_exp", [](benchmark::State& state, Work work, int rows) {
    run(state, HWY_DYNAMIC_DISPATCH(DenseLibrary), work, rows);
  });
  register_cases("highway_f32_polynomial", [](benchmark::State& state, Work work, int rows) {
    run(state, HWY_DYNAMIC_DISPATCH(DensePolynomial), work, rows);
  });
  // the best target is the lowest bit
  benchmark::AddCustomContext("highway_target",
                              hwy::TargetName(hwy::SupportedTargets() & -hwy::SupportedTargets()));
  return true;
}();

}  // namespace
}  // namespace softmpc::bench
#endif  // HWY_ONCE
