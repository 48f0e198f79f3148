// SPDX-License-Identifier: Apache-2.0
// Rows in feature-major tiles, one tile through all layers before the next, as the planner does.
#pragma once

#include <algorithm>

#include "cases.h"
#include "softmpc/hd/bf16.h"

namespace softmpc::bench {

/// The planner's widest tile without groups.
inline constexpr int kTile = 48;
/// A block has room for whole ones of so many outputs.
inline constexpr int kRows = 8;

constexpr int whole(int outputs, int unit) { return (outputs + unit - 1) / unit * unit; }

/// A layer's weights as [groups, in, group], and in pairs of inputs as bfloat16.
struct GroupedLayer {
  Shape shape;
  cpu::AlignedFloats weight, bias;
  std::vector<std::uint32_t, cpu::CacheLineAllocator<std::uint32_t>> pairs;

  GroupedLayer(const Shape& s, int group) : shape(s) {
    const Parameters p(s);
    const std::size_t rows = whole(s.out, group), half = (s.in + 1) / 2;
    weight.resize(rows * s.in);
    bias.resize(rows);
    pairs.resize(rows * half);
    std::copy(p.bias.begin(), p.bias.end(), bias.begin());
    for (int o = 0; o < s.out; ++o)
      for (int i = 0; i < s.in; ++i) {
        const float w = p.weight[static_cast<std::size_t>(o) * s.in + i];
        const std::size_t g = o / group, r = o % group;
        weight[(g * s.in + i) * group + r] = w;
        pairs[(g * half + i / 2) * group + r] |= hd::to_bf16(w) << (i % 2 * 16);
      }
  }
};

/// Measures `dense(layer, in, lanes, out)`, a layer of one tile of at most `tile` lanes. Input and
/// results keep all rows, so that the caches see what a batch would show them.
template <class Dense>
void run_tiles(benchmark::State& state, Work work, int rows, int tile, Dense dense) {
  const std::vector<Shape> shapes = layers(work);
  const int inputs = shapes.front().in, outputs = shapes.back().out;
  const std::size_t padded = whole(outputs, kRows);
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
