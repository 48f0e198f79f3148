// SPDX-License-Identifier: Apache-2.0
// The inner loops that are compiled once per instruction set. Everything above them is ordinary
// code; a table of functions is picked once per process.
#pragma once

#include <cstdint>

#include "softmpc/hd/philox.h"

namespace softmpc::cpu {

/// Column blocks are padded to a multiple of this many lanes (one AVX-512 register of floats).
inline constexpr int kLanes = 16;
/// Outputs of a layer are packed in groups of this many.
inline constexpr int kGroup = 8;

constexpr int pad_lanes(int count) { return (count + kLanes - 1) / kLanes * kLanes; }

enum class Activation { none, silu, tanh };

/// One layer of one network, packed: weight [groups, in, kGroup], bias [groups, kGroup]; outputs
/// beyond `out` are zero.
struct PackedLayer {
  const float* weight;
  const float* bias;
  int in, out;
  Activation activation;
};

/// Which normals to draw: lane j gets those of (problem[j], rollout[j]).
struct NormalsKey {
  std::uint64_t seed;
  std::uint32_t solve;
  std::uint32_t word;  ///< hd::draw_word
  const std::uint32_t* problem;
  const std::uint32_t* rollout;
};

struct Kernels {
  const char* name;
  /// y[o, :] = act(bias[o] + sum_i weight[o, i] x[i, :]) for `lanes` lanes, a multiple of kLanes.
  /// y has room for whole groups of outputs. Each lane's sum runs over i in order, so its bits do
  /// not depend on the other lanes.
  void (*dense)(const PackedLayer& layer, const float* x, int x_stride, float* y, int y_stride,
                int lanes);
  /// out[i, j] = scale[i] * n_i, i < count <= 4, for `lanes` lanes, a multiple of kLanes.
  void (*normals)(const NormalsKey& key, const float* scale, int count, float* out, int stride,
                  int lanes);
};

/// The best table that this CPU runs; the environment variable SOFTMPC_ISA (portable, avx2, avx512)
/// forces one. Throws UsageError if it is unknown or the CPU lacks it.
const Kernels& kernels();

extern const Kernels kPortableKernels;
#if defined(__x86_64__)
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;
#endif

}  // namespace softmpc::cpu
