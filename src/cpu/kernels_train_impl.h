// SPDX-License-Identifier: Apache-2.0
// The kernels of training, included behind kernels_impl.h by the same translation units.
#pragma once

#include "cpu/kernels_impl.h"
#include "softmpc/hd/adam.h"

namespace softmpc::cpu {
namespace {

/// kTile inputs of V vectors of lanes: the same weights as dense_tile, summed over outputs.
template <int V>
SOFTMPC_HD void transposed_tile(const float* weight, int in, int groups, const float* dz, float* dx,
                                int stride) {
  Vec sum[kTile][V] = {};
  for (int g = 0; g < groups; ++g, weight += static_cast<Long>(in) * kGroup)
    for (int o = 0; o < kGroup; ++o) {
      Vec d[V];
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) d[v] = load(dz + v * kWidth);
#pragma GCC unroll 8
      for (int i = 0; i < kTile; ++i)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v)
          sum[i][v] = multiply_add(weight[i * kGroup + o], d[v], sum[i][v]);
      dz += stride;
    }
#pragma GCC unroll 8
  for (int i = 0; i < kTile; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) store(dx + static_cast<Long>(i) * stride + v * kWidth, sum[i][v]);
}

/// The last inputs, fewer than a tile.
SOFTMPC_HD void transposed_row(const float* weight, int in, int groups, const float* dz, float* dx,
                               int stride, int lanes) {
  for (int j = 0; j < lanes; j += kWidth) {
    Vec sum = {};
    for (int o = 0; o < groups * kGroup; ++o)
      sum = multiply_add(weight[(static_cast<Long>(o / kGroup) * in) * kGroup + o % kGroup],
                         load(dz + static_cast<Long>(o) * stride + j), sum);
    store(dx + j, sum);
  }
}

void dense_transposed(const PackedLayer& layer, const float* dz, float* dx, int stride, int lanes) {
  const int groups = groups_of(layer.out);
  const int tiled = layer.in / kTile * kTile;
  for (int i = 0; i < tiled; i += kTile)
    over_lanes(lanes, [&]<int V>(int j) {
      transposed_tile<V>(layer.weight + i * kGroup, layer.in, groups, dz + j,
                         dx + static_cast<Long>(i) * stride + j, stride);
    });
  for (int i = tiled; i < layer.in; ++i)
    transposed_row(layer.weight + i * kGroup, layer.in, groups, dz,
                   dx + static_cast<Long>(i) * stride, stride, lanes);
}

void silu(const float* z, float* h, std::int64_t count) {
#pragma GCC ivdep
  for (std::int64_t j = 0; j < count; ++j) h[j] = hd::silu(z[j]);
}

void silu_backward(const float* z, float* dh, std::int64_t count) {
#pragma GCC ivdep
  for (std::int64_t j = 0; j < count; ++j) dh[j] *= hd::silu_derivative(z[j]);
}

#if defined(__AVX2__)
SOFTMPC_HD void transpose_8x8(const float* x, Long x_stride, float* out, Long out_stride) {
  __m256 a[8], b[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) a[i] = _mm256_loadu_ps(x + i * x_stride);
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {  // pairs of rows, within halves
    b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
    b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4)  // fours
#pragma GCC unroll 2
    for (int k = 0; k < 2; ++k) {
      a[i + 2 * k] = _mm256_shuffle_ps(b[i + k], b[i + k + 2], 0x44);
      a[i + 2 * k + 1] = _mm256_shuffle_ps(b[i + k], b[i + k + 2], 0xee);
    }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {  // eights
    _mm256_storeu_ps(out + i * out_stride, _mm256_permute2f128_ps(a[i], a[i + 4], 0x20));
    _mm256_storeu_ps(out + (i + 4) * out_stride, _mm256_permute2f128_ps(a[i], a[i + 4], 0x31));
  }
}
#endif

void transpose(const float* x, int rows, int x_stride, float* out, int out_stride, int lanes) {
  for (int r = 0; r < rows; r += kRows) {
    const float* from = x + static_cast<Long>(r) * x_stride;
    int j = 0;
#if defined(__AVX2__)
    static_assert(kRows == 8);
    for (; j + 8 <= lanes; j += 8)
      transpose_8x8(from + j, x_stride, out + static_cast<Long>(j) * out_stride + r, out_stride);
#endif
    for (; j < lanes; ++j)
#pragma GCC unroll 8
      for (int k = 0; k < kRows; ++k)
        out[static_cast<Long>(j) * out_stride + r + k] = from[static_cast<Long>(k) * x_stride + j];
  }
}

constexpr int kGroupVectors = kGroup / kWidth;
constexpr int kGradientInputs = kGroupVectors == 1 ? 8 : kGroupVectors == 2 ? 4 : 2;

/// g[i, :] = sum_b h[i, b] dz[b, group] for I inputs of one group of outputs.
template <int I>
SOFTMPC_HD void gradient_tile(const float* h, int lanes, const float* dz, int dz_stride, float* g) {
  Vec sum[I][kGroupVectors] = {};
  for (int b = 0; b < lanes; ++b, dz += dz_stride) {
    Vec d[kGroupVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kGroupVectors; ++v) d[v] = load(dz + v * kWidth);
#pragma GCC unroll 8
    for (int i = 0; i < I; ++i)
#pragma GCC unroll 4
      for (int v = 0; v < kGroupVectors; ++v)
        sum[i][v] = multiply_add(h[static_cast<Long>(i) * lanes + b], d[v], sum[i][v]);
  }
#pragma GCC unroll 8
  for (int i = 0; i < I; ++i)
#pragma GCC unroll 4
    for (int v = 0; v < kGroupVectors; ++v) store(g + i * kGroup + v * kWidth, sum[i][v]);
}

/// Adam on `count` parameters of a job from `at` on.
template <class Job>
SOFTMPC_HD void adam(const Job& job, Long at, const float* g, int count) {
  const float* now = job.now + at;
  float *next = job.next + at, *mean = job.mean + at, *variance = job.variance + at;
  const hd::AdamStep step = job.step;
#pragma GCC ivdep
  for (int j = 0; j < count; ++j) next[j] = hd::adam(step, g[j], now[j], mean[j], variance[j]);
}

void descend(const DescentJob& job) {
  alignas(64) float g[kGradientInputs * kGroup];
  const int groups = groups_of(job.out), stride = groups * kGroup;
  for (int group = 0; group < groups; ++group) {
    const float* dz = job.dz + group * kGroup;
    const Long first = static_cast<Long>(group) * job.in * kGroup;
    int i = 0;
    for (; i + kGradientInputs <= job.in; i += kGradientInputs) {
      gradient_tile<kGradientInputs>(job.h + static_cast<Long>(i) * job.lanes, job.lanes, dz,
                                     stride, g);
      adam(job, first + i * kGroup, g, kGradientInputs * kGroup);
    }
    for (; i < job.in; ++i) {
      gradient_tile<1>(job.h + static_cast<Long>(i) * job.lanes, job.lanes, dz, stride, g);
      adam(job, first + i * kGroup, g, kGroup);
    }
    float bias[kGroup] = {};
    for (int b = 0; b < job.lanes; ++b)
      for (int o = 0; o < kGroup; ++o) bias[o] += dz[static_cast<Long>(b) * stride + o];
    adam(job, (static_cast<Long>(groups) * job.in + group) * kGroup, bias, kGroup);
  }
}

}  // namespace
}  // namespace softmpc::cpu
