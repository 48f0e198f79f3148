// SPDX-License-Identifier: Apache-2.0
// Rows in feature-major tiles, one tile through all layers before the next, as the planner does.
#pragma once

#include <algorithm>

#include "cases.h"

namespace softmpc::bench {

/// The planner's widest tile without groups.
inline constexpr int kTile = 48;
/// Outputs are packed in groups of this many, as in cpu/kernels.h.
inline constexpr int kGroup = 8;

constexpr int whole_groups(int outputs) { return (outputs + kGroup - 1) / kGroup * kGroup; }

/// A layer's weights as [groups, in, kGroup].
struct GroupedLayer {
  Shape shape;
  cpu::AlignedFloats weight, bias;

  explicit GroupedLayer(const Shape& s) : shape(s) {
    const Parameters p(s);
    weight.resize(static_cast<std::size_t>(whole_groups(s.out)) * s.in);
    bias.resize(static_cast<std::size_t>(whole_groups(s.out)));
    std::copy(p.bias.begin(), p.bias.end(), bias.begin());
    for (int o = 0; o < s.out; ++o)
      for (int i = 0; i < s.in; ++i)
        weight[(static_cast<std::size_t>(o / kGroup) * s.in + i) * kGroup + o % kGroup] =
            p.weight[static_cast<std::size_t>(o) * s.in + i];
  }
};

/// Measures `dense(layer, in, lanes, out)`, a layer of one tile of at most `tile` lanes. Input and
/// results keep all rows, so that the caches see what a batch would show them.
template <class Dense>
void run_tiles(benchmark::State& state, Work work, int rows, int tile, Dense dense) {
  const std::vector<Shape> shapes = layers(work);
  const int inputs = shapes.front().in, outputs = shapes.back().out;
  const std::size_t padded = whole_groups(outputs);
  const cpu::AlignedFloats source = input(rows, inputs);
  cpu::AlignedFloats x(source.size()), y(padded * rows), between[2];
  for (auto& b : between) b.resize(256 * static_cast<std::size_t>(tile));
  for (int r = 0; r < rows; ++r) {
    const int begin = r / tile * tile, lanes = std::min(tile, rows - begin);
    for (int i = 0; i < inputs; ++i)
      x[static_cast<std::size_t>(begin) * inputs + i * lanes + r - begin] =
          source[static_cast<std::size_t>(r) * inputs + i];
  }
  for (auto _ : state) {
    for (int begin = 0; begin < rows; begin += tile) {
      const int lanes = std::min(tile, rows - begin);
      const float* in = x.data() + static_cast<std::size_t>(begin) * inputs;
      for (std::size_t l = 0; l < shapes.size(); ++l) {
        float* out = l + 1 == shapes.size() ? y.data() + begin * padded : between[l % 2].data();
        dense(l, in, lanes, out);
        in = out;
      }
    }
    benchmark::ClobberMemory();
  }
  double sizes = 0;
  for (int begin = 0; begin < rows; begin += tile) {
    const float* block = y.data() + begin * padded;
    for (int k = 0; k < outputs * std::min(tile, rows - begin); ++k) sizes += std::abs(block[k]);
  }
  report(state, work, rows, sizes);
}

}  // namespace softmpc::bench
