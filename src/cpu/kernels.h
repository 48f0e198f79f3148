// SPDX-License-Identifier: Apache-2.0
// The inner loops that are compiled once per instruction set. Everything above them is ordinary
// code; a table of functions is picked once per process.
#pragma once

#include <cstdint>

#include "softmpc/hd/activation.h"
#include "softmpc/hd/adam.h"
#include "softmpc/hd/philox.h"

namespace softmpc::cpu {

/// Column blocks are padded to a multiple of this many lanes (one AVX-512 register of floats).
inline constexpr int kLanes = 16;
/// Outputs of a layer are packed in groups of this many.
inline constexpr int kGroup = 16;
/// Rows of a block are computed this many at a time; y needs room for whole ones.
inline constexpr int kRows = 8;

constexpr int pad_lanes(int count) { return (count + kLanes - 1) / kLanes * kLanes; }
constexpr int pad_rows(int count) { return (count + kRows - 1) / kRows * kRows; }
constexpr int groups_of(int outputs) { return (outputs + kGroup - 1) / kGroup; }

/// Two consecutive components of one lane as bfloat16, the first in the low half.
using Bf16Pair = std::uint32_t;

/// One layer of one network, packed: weight [groups, in, kGroup], bias [groups, kGroup]; entries
/// beyond `out` are zero. `pairs` [groups, ceil(in / 2), kGroup] is the weight in bfloat16.
struct PackedLayer {
  const float* weight;
  const float* bias;
  const Bf16Pair* pairs;
  int in, out;
  Activation activation;
  /// Sums over the first `summed` inputs, bias included, [out, lanes] with x's stride; null: none.
  /// Of the products with float32 operands alone.
  const float* sums = nullptr;
  int summed = 0;
};

/// One layer's gradient and Adam step. Parameters, their successors and the moments lie like a
/// PackedLayer's weight with its bias behind it; `next` may be `now`.
struct DescentJob {
  int in, out, lanes;
  const float* h;    ///< [in, lanes] the layer's input
  const float* dz;   ///< [lanes, groups * kGroup] dL/dz, batch-major; zero in padding
  const float* now;  ///< parameters
  float *next, *mean, *variance;
  hd::AdamStep step;
};

/// LayerNorm of `units` rows, then the activation.
struct NormLayer {
  const float *scale, *shift;  ///< [units]
  int units;
  Activation activation;
};

/// LayerNorm's gradient and Adam step. Parameters and moments are the scale in whole groups, then
/// the shift; `next` null: they stay. The scale is read before it moves.
struct NormDescentJob {
  int units, lanes;
  const float* z;  ///< [units, lanes] before LayerNorm
  float* d;        ///< [units, lanes] dL/dn, and afterwards dL/dz
  const float* scale;
  float* gradient;  ///< room for scale and shift
  const float* now;
  float *next, *mean, *variance;
  hd::AdamStep step;
};

/// Which normals to draw: lane j gets those of (problem[j], rollout[j]).
struct NormalsKey {
  std::uint64_t seed;
  std::uint32_t solve;
  std::uint32_t word;  ///< hd::draw_word
  const std::uint32_t* problem;
  const std::uint32_t* rollout;
};

/// Blocks are [rows, lanes] with a stride from row to row; `lanes` is a multiple of kLanes.
struct Kernels {
  const char* name;
  /// True where the CPU multiplies bfloat16 itself; elsewhere the same products take longer.
  bool native_bf16;
  /// y[o, :] = act(bias[o] + sum_i weight[o, i] x[i, :]). Padding rows of y are zero, or without an
  /// activation left as they were. Each lane's sum runs over i in order, so
  /// its bits do not depend on the other lanes.
  void (*dense)(const PackedLayer& layer, const float* x, int x_stride, float* y, int y_stride,
                int lanes);
  /// The same with bfloat16 operands and float32 sums. x holds pairs of inputs; the result goes to
  /// `y` as float32 or, where y is null, to `narrow` as pairs of outputs.
  void (*dense_bf16)(const PackedLayer& layer, const Bf16Pair* x, int x_stride, float* y,
                     Bf16Pair* narrow, int y_stride, int lanes);
  /// float32 operands, the result as pairs of outputs.
  void (*dense_to_bf16)(const PackedLayer& layer, const float* x, int x_stride, Bf16Pair* narrow,
                        int y_stride, int lanes);
  /// Rounds rows to pairs of rows; an odd last row is paired with zeros.
  void (*to_bf16)(const float* x, int rows, int x_stride, Bf16Pair* out, int out_stride, int lanes);
  /// out[i, j] = scale[i] * n_i, i < count <= 4.
  void (*normals)(const NormalsKey& key, const float* scale, int count, float* out, int stride,
                  int lanes);

  /// sums[o] = bias[o] + sum_{i < count} weight[o, i] x[i], in the order of dense(), for one lane
  /// whose components lie x_stride apart; `sums` has room for whole groups.
  void (*sum_inputs)(const PackedLayer& layer, int count, const float* x, int x_stride,
                     float* sums);
  /// y = act(LayerNorm(z)) of each lane over the rows; y may be z. Rows beyond stay as they were.
  void (*layer_norm)(const NormLayer& layer, const float* z, float* y, int stride, int lanes);

  // training
  /// dx[i, :] = sum_o weight[o, i] dz[o, :]; dx has whole kRows.
  void (*dense_transposed)(const PackedLayer& layer, const float* dz, float* dx, int stride,
                           int lanes);
  /// h = silu(z)
  void (*silu)(const float* z, float* h, std::int64_t count);
  /// dz = dh silu'(z), in place of dh
  void (*silu_backward)(const float* z, float* dh, std::int64_t count);
  /// out[j, r] = x[r, j]; `rows` is a multiple of kRows, `lanes` is any number.
  void (*transpose)(const float* x, int rows, int x_stride, float* out, int out_stride, int lanes);
  /// Gradient of one layer, then hd::adam on each of its parameters.
  void (*descend)(const DescentJob& job);
  /// From dL/dn to dL/dz of LayerNorm, then hd::adam on its parameters.
  void (*layer_norm_backward)(const NormDescentJob& job);
};

/// The best table that this CPU runs; the environment variable SOFTMPC_ISA (portable, avx2, avx512,
/// avx512bf16, onednn) forces one. Throws UsageError if it is unknown or the CPU lacks it.
const Kernels& kernels();

/// True if products in bfloat16 are computed by oneDNN: with SOFTMPC_ISA=onednn or, where that is
/// not set, on a CPU with AMX. All else is computed by the best table. Throws as kernels() does.
bool through_onednn();

extern const Kernels kPortableKernels;
#if defined(__x86_64__)
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;
extern const Kernels kAvx512Bf16Kernels;
#endif

}  // namespace softmpc::cpu
