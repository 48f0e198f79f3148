// SPDX-License-Identifier: Apache-2.0
// The cases that every base measures: names, shapes, data and the rate that is reported.
#pragma once

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "cpu/aligned.h"

namespace softmpc::bench {

enum class Work { layer, layer_silu, net };

struct Shape {
  int in, out;
  bool silu;
};

/// Layers of a case: 256 -> 256 plain or with SiLU, or the net 15-256-256-12.
inline std::vector<Shape> layers(Work work) {
  if (work == Work::net) return {{15, 256, true}, {256, 256, true}, {256, 12, false}};
  return {{256, 256, work == Work::layer_silu}};
}

/// The same numbers for every base: the seed is the count.
inline cpu::AlignedFloats normals(std::size_t count, float scale) {
  std::mt19937 generator(static_cast<unsigned>(count));
  std::normal_distribution<float> normal(0, scale);
  cpu::AlignedFloats values(count);
  for (float& v : values) v = normal(generator);
  return values;
}

/// One layer's parameters, [out, in] and [out], scaled so that activations stay near 1.
struct Parameters {
  explicit Parameters(const Shape& s)
      : weight(normals(static_cast<std::size_t>(s.in) * s.out, 1 / std::sqrt(float(s.in)))),
        bias(normals(static_cast<std::size_t>(s.out), 0.1f)) {}
  cpu::AlignedFloats weight, bias;
};

/// Rows [rows, in] of a case.
inline cpu::AlignedFloats input(int rows, int in) {
  return normals(static_cast<std::size_t>(rows) * in, 1);
}

/// Sets the rate, and the mean size of the results, by which one sees that all bases compute the
/// same.
inline void report(benchmark::State& state, Work work, int rows, double sum_of_sizes) {
  double flops = 0;
  for (const Shape& s : layers(work)) flops += 2.0 * s.in * s.out * rows;
  state.counters["FLOP/s"] =
      benchmark::Counter(flops, benchmark::Counter::kIsIterationInvariantRate);
  state.counters["mean_size"] = sum_of_sizes / rows / layers(work).back().out;
}

/// Registers `run(state, work, rows)` as BASE/CASE/ROWS, for all cases or the net alone.
template <class Run>
void register_cases(const std::string& base, Run run, bool net_alone = false) {
  const std::pair<Work, const char*> works[] = {
      {Work::layer, "layer"}, {Work::layer_silu, "layer_silu"}, {Work::net, "net"}};
  for (const auto& [work, name] : works)
    for (int rows : {16, 48, 208, 640, 1024, 4096}) {
      if (net_alone && work != Work::net) continue;
      const Work w = work;
      const std::string title = base + "/" + name + "/" + std::to_string(rows);
      benchmark::RegisterBenchmark(title.c_str(),
                                   [=](benchmark::State& state) { run(state, w, rows); });
    }
}

}  // namespace softmpc::bench
