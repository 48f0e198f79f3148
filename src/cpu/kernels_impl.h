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

#if defined(__AVX2__)
// kWidth / 2 numbers of 32 bits, each in the low half of 64; products ignore the high halves
typedef std::uint64_t Words __attribute__((vector_size(kWidth * sizeof(float))));
typedef std::uint32_t HalfWords __attribute__((vector_size(kWidth * sizeof(float) / 2)));
typedef std::uint32_t UnalignedHalfWords
    __attribute__((vector_size(kWidth * sizeof(float) / 2), aligned(4)));

SOFTMPC_HD Words low_product(Words a, std::uint32_t b) {
#if defined(__AVX512F__)
  // masked with all ones: g++ 12 warns of the other's undefined operand
  return reinterpret_cast<Words>(_mm512_maskz_mul_epu32(
      0xff, reinterpret_cast<__m512i>(a), _mm512_set1_epi64(static_cast<std::int64_t>(b))));
#else
  return reinterpret_cast<Words>(_mm256_mul_epu32(
      reinterpret_cast<__m256i>(a), _mm256_set1_epi64x(static_cast<std::int64_t>(b))));
#endif
}

/// hd::philox of kLanes lanes from `begin`.
SOFTMPC_HD void philox_lanes(const NormalsKey& key, int begin, std::uint32_t (&bits)[4][kLanes]) {
  constexpr int kHalf = kWidth / 2;
  for (int at = 0; at < kLanes; at += kHalf) {
    const auto words = [&](const std::uint32_t* p) {
      const HalfWords half = *reinterpret_cast<const UnalignedHalfWords*>(p + begin + at);
      return __builtin_convertvector(half, Words);
    };
    Words x = Words{} + key.solve, y = Words{} + key.word;
    Words z = words(key.problem), w = words(key.rollout);
    std::uint32_t k0 = static_cast<std::uint32_t>(key.seed);
    std::uint32_t k1 = static_cast<std::uint32_t>(key.seed >> 32);
#pragma GCC unroll 10
    for (int i = 0; i < 10; ++i) {
      const Words p0 = low_product(x, 0xD2511F53u), p1 = low_product(z, 0xCD9E8D57u);
      x = (p1 >> 32) ^ y ^ k0;
      y = p1;
      z = (p0 >> 32) ^ w ^ k1;
      w = p0;
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    const Words result[4] = {x, y, z, w};
    for (int i = 0; i < 4; ++i)
      *reinterpret_cast<UnalignedHalfWords*>(bits[i] + at) =
          __builtin_convertvector(result[i], HalfWords);
  }
}
#else
SOFTMPC_HD void philox_lanes(const NormalsKey& key, int begin, std::uint32_t (&bits)[4][kLanes]) {
  for (int j = 0; j < kLanes; ++j) {
    const hd::Philox4 b =
        hd::philox({key.solve, key.word, key.problem[begin + j], key.rollout[begin + j]}, key.seed);
    bits[0][j] = b.x, bits[1][j] = b.y, bits[2][j] = b.z, bits[3][j] = b.w;
  }
}
#endif

void normals(const NormalsKey& key, const float* scale, int count, float* out, int stride,
             int lanes) {
  for (int begin = 0; begin < lanes; begin += kLanes) {
    std::uint32_t bits[4][kLanes];
    float n[4][kLanes];
    philox_lanes(key, begin, bits);
    for (int pair = 0; pair < count; pair += 2)
#pragma GCC ivdep
      for (int j = 0; j < kLanes; ++j)
        hd::normal_pair(bits[pair][j], bits[pair + 1][j], n[pair][j], n[pair + 1][j]);
    for (int i = 0; i < count; ++i)
      for (int v = 0; v < kLanes; v += kWidth)
        store(out + i * static_cast<long>(stride) + begin + v, load(n[i] + v) * scale[i]);
  }
}

}  // namespace
}  // namespace softmpc::cpu
