// SPDX-License-Identifier: Apache-2.0
// libxsmm's generated product, one call per tile and layer; bias and SiLU are ours, in a second
// pass, since its 1.17 has no such epilogue for float32.
#include <libxsmm.h>

#include "finish.h"
#include "tiles.h"

namespace softmpc::bench {
namespace {

// libxsmm is column-major: with lanes as its rows the operands lie as ours do.
libxsmm_smmfunction product(const Shape& s, int lanes) {
  const float one = 1, zero = 0;
  return libxsmm_smmdispatch(lanes, s.out, s.in, &lanes, &s.in, &lanes, &one, &zero, nullptr,
                             nullptr);
}

void run(benchmark::State& state, Work work, int rows) {
  const std::vector<Shape> shapes = layers(work);
  const std::vector<Parameters> parameters(shapes.begin(), shapes.end());
  const int rest = rows % kTile;
  std::vector<libxsmm_smmfunction> whole, narrow;
  for (const Shape& s : shapes) {
    whole.push_back(product(s, kTile));
    narrow.push_back(rest > 0 ? product(s, rest) : whole.back());
    if (!whole.back() || !narrow.back()) {
      state.SkipWithError("libxsmm generates no kernel for this shape");
      return;
    }
  }
  run_tiles(state, work, rows, kTile, [&](std::size_t l, const float* in, int lanes, float* out) {
    (lanes == kTile ? whole : narrow)[l](in, parameters[l].weight.data(), out);
    finish(shapes[l], parameters[l].bias.data(), lanes, out);
  });
}

const bool registered = (register_cases("libxsmm_f32", run), true);

}  // namespace
}  // namespace softmpc::bench
