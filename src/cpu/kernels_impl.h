// SPDX-License-Identifier: Apache-2.0
// The kernels, included by one translation unit per instruction set. Only anonymous-namespace and
// always-inlined code here: an out-of-line copy compiled for AVX-512 must not be linked elsewhere.
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "cpu/kernels.h"
#include "softmpc/hd/math.h"

namespace softmpc::cpu {
namespace {

#if defined(__AVX512F__)
constexpr int kWidth = 16;
constexpr int kTileGroup = 8;  // outputs x vectors of accumulators: 8 x 3 of 32 registers
#elif defined(__AVX2__)
constexpr int kWidth = 8;
constexpr int kTileGroup = 4;  // 4 x 3 of 16 registers
#else
constexpr int kWidth = 4;
constexpr int kTileGroup = 4;
#endif

typedef float Vec __attribute__((vector_size(kWidth * sizeof(float))));
typedef float UnalignedVec __attribute__((vector_size(kWidth * sizeof(float)), aligned(4)));

SOFTMPC_HD Vec load(const float* p) { return *reinterpret_cast<const UnalignedVec*>(p); }
SOFTMPC_HD void store(float* p, Vec v) { *reinterpret_cast<UnalignedVec*>(p) = v; }

SOFTMPC_HD Vec multiply_add(float a, Vec b, Vec c) {
#if defined(__AVX512F__)
  return _mm512_fmadd_ps(_mm512_set1_ps(a), b, c);
#elif defined(__AVX2__)
  return _mm256_fmadd_ps(_mm256_set1_ps(a), b, c);
#else
  return a * b + c;
#endif
}

template <float (*F)(float)>
SOFTMPC_HD void map(float* y, int count) {
#pragma GCC ivdep
  for (int j = 0; j < count; ++j) y[j] = F(y[j]);
}

/// kTileGroup outputs of V vectors of lanes.
template <int V>
SOFTMPC_HD void dense_tile(const float* weight, const float* bias, int in, const float* x,
                           int x_stride, float* y, int y_stride) {
  Vec sum[kTileGroup][V];
#pragma GCC unroll 8
  for (int o = 0; o < kTileGroup; ++o)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) sum[o][v] = Vec{} + bias[o];
  for (int i = 0; i < in; ++i) {
    Vec xi[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) xi[v] = load(x + v * kWidth);
#pragma GCC unroll 8
    for (int o = 0; o < kTileGroup; ++o)
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sum[o][v] = multiply_add(weight[o], xi[v], sum[o][v]);
    x += x_stride;
    weight += kGroup;
  }
#pragma GCC unroll 8
  for (int o = 0; o < kTileGroup; ++o)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) store(y + o * y_stride + v * kWidth, sum[o][v]);
}

template <int V>
void dense_lanes(const PackedLayer& layer, const float* x, int x_stride, float* y, int y_stride) {
  constexpr int kCount = V * kWidth;
  const int groups = (layer.out + kGroup - 1) / kGroup;
  for (int g = 0; g < groups; ++g) {
    const float* weight = layer.weight + static_cast<long>(g) * layer.in * kGroup;
    for (int o = 0; o < kGroup; o += kTileGroup)
      dense_tile<V>(weight + o, layer.bias + g * kGroup + o, layer.in, x, x_stride,
                    y + (g * kGroup + o) * static_cast<long>(y_stride), y_stride);
    for (int o = 0; o < kGroup; ++o) {
      float* row = y + (g * kGroup + o) * static_cast<long>(y_stride);
      if (layer.activation == Activation::silu) map<hd::silu>(row, kCount);
      if (layer.activation == Activation::tanh) map<hd::tanh>(row, kCount);
    }
  }
}

void dense(const PackedLayer& layer, const float* x, int x_stride, float* y, int y_stride,
           int lanes) {
  int j = 0;
  for (; j + 3 * kWidth <= lanes; j += 3 * kWidth)
    dense_lanes<3>(layer, x + j, x_stride, y + j, y_stride);
  if (j + 2 * kWidth <= lanes) {
    dense_lanes<2>(layer, x + j, x_stride, y + j, y_stride);
    j += 2 * kWidth;
  }
  if (j < lanes) dense_lanes<1>(layer, x + j, x_stride, y + j, y_stride);
}

void normals(const NormalsKey& key, const float* scale, int count, float* out, int stride,
             int lanes) {
  for (int begin = 0; begin < lanes; begin += kLanes) {
    float n[4][kLanes];
#pragma GCC ivdep
    for (int j = 0; j < kLanes; ++j) {
      const hd::Philox4 counter = {key.solve, key.word, key.problem[begin + j],
                                   key.rollout[begin + j]};
      const hd::Philox4 bits = hd::philox(counter, key.seed);
      hd::normal_pair(bits.x, bits.y, n[0][j], n[1][j]);
      hd::normal_pair(bits.z, bits.w, n[2][j], n[3][j]);
    }
    for (int i = 0; i < count; ++i)
      for (int j = 0; j < kLanes; ++j)
        out[i * static_cast<long>(stride) + begin + j] = scale[i] * n[i][j];
  }
}

}  // namespace
}  // namespace softmpc::cpu
