// SPDX-License-Identifier: Apache-2.0
// The kernels, included by one translation unit per instruction set. Only anonymous-namespace and
// always-inlined code here: an out-of-line copy compiled for AVX-512 must not be linked elsewhere.
#pragma once

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "cpu/kernels.h"
#include "softmpc/hd/bf16.h"
#include "softmpc/hd/math.h"

namespace softmpc::cpu {
namespace {

#if defined(__AVX512F__)
constexpr int kWidth = 16;
constexpr int kTile = 8;  // outputs x vectors of accumulators: 8 x 3 of 32 registers
#elif defined(__AVX2__)
constexpr int kWidth = 8;
constexpr int kTile = 4;  // 4 x 3 of 16 registers
#else
constexpr int kWidth = 4;
constexpr int kTile = 4;
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

using Long = std::int64_t;

typedef std::int32_t IntVec __attribute__((vector_size(kWidth * sizeof(float))));
typedef std::int32_t UnalignedIntVec
    __attribute__((vector_size(kWidth * sizeof(float)), aligned(4)));

template <float (*F)(float)>
SOFTMPC_HD void map(float* y, int count) {
#pragma GCC ivdep
  for (int j = 0; j < count; ++j) y[j] = F(y[j]);
}

SOFTMPC_HD void activate(Activation activation, float* y, int count) {
  if (activation == Activation::silu) map<hd::silu>(y, count);
  if (activation == Activation::tanh) map<hd::tanh>(y, count);
}

/// float32 operands: one input a step.
struct Single {
  using Element = float;
  using Loaded = Vec;
  SOFTMPC_HD static int steps(int in) { return in; }
  SOFTMPC_HD static const float* weight(const PackedLayer& layer) { return layer.weight; }
  SOFTMPC_HD static Vec load_inputs(const float* x) { return load(x); }
  SOFTMPC_HD static Vec add(Vec sum, float w, Vec x) { return multiply_add(w, x, sum); }
};

/// bfloat16 operands: two inputs a step.
struct Paired {
  using Element = Bf16Pair;
  SOFTMPC_HD static int steps(int in) { return (in + 1) / 2; }
  SOFTMPC_HD static const Bf16Pair* weight(const PackedLayer& layer) { return layer.pairs; }
#if defined(__AVX512BF16__)
  using Loaded = __m512bh;
  SOFTMPC_HD static Loaded load_inputs(const Bf16Pair* x) {
    return (__m512bh)_mm512_loadu_si512(x);
  }
  SOFTMPC_HD static Vec add(Vec sum, Bf16Pair w, Loaded x) {
    return _mm512_dpbf16_ps(sum, x, (__m512bh)_mm512_set1_epi32(static_cast<int>(w)));
  }
#else
  struct Loaded {
    Vec low, high;
  };
  SOFTMPC_HD static Loaded load_inputs(const Bf16Pair* x) {
    const IntVec bits = *reinterpret_cast<const UnalignedIntVec*>(x);
    return {(Vec)(bits << 16), (Vec)(bits & ~0xffff)};
  }
  SOFTMPC_HD static Vec add(Vec sum, Bf16Pair w, Loaded x) {
    sum = multiply_add(hd::bits_to_float(w << 16), x.low, sum);
    return multiply_add(hd::bits_to_float(w & 0xffff0000u), x.high, sum);
  }
#endif
};

/// T outputs of V vectors of lanes, within a group: `steps` steps from bias, or from sums where
/// they are not null.
template <class Operand, int V, int T>
SOFTMPC_HD void dense_tile(const typename Operand::Element* weight, const float* bias,
                           const float* sums, int steps, const typename Operand::Element* x,
                           int x_stride, float* y, int y_stride) {
  Vec sum[T][V];
#pragma GCC unroll 16
  for (int o = 0; o < T; ++o)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v)
      sum[o][v] =
          sums ? load(sums + static_cast<Long>(o) * x_stride + v * kWidth) : Vec{} + bias[o];
  for (int i = steps; i > 0; --i) {
    typename Operand::Loaded xi[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) xi[v] = Operand::load_inputs(x + v * kWidth);
#pragma GCC unroll 16
    for (int o = 0; o < T; ++o)
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sum[o][v] = Operand::add(sum[o][v], weight[o], xi[v]);
    x += x_stride;
    weight += kGroup;
  }
#pragma GCC unroll 16
  for (int o = 0; o < T; ++o)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) store(y + static_cast<Long>(o) * y_stride + v * kWidth, sum[o][v]);
}

/// R outputs from `row` on, of the lanes from `lane` on, before the activation.
template <class Operand, int V, int R>
SOFTMPC_HD void dense_rows(const PackedLayer& layer, int row, int lane,
                           const typename Operand::Element* x, int x_stride, float* y,
                           int y_stride) {
  constexpr int kOutputs = R > kRows ? R : R < kTile ? R : kTile;
  const int skip = layer.summed;  // 0 for pairs
  const Long group = static_cast<Long>(row / kGroup) * Operand::steps(layer.in) * kGroup;
  const auto* weight = Operand::weight(layer) + group + skip * kGroup + row % kGroup;
  x += static_cast<Long>(skip) * x_stride + lane;
  for (int o = 0; o < R; o += kOutputs)
    dense_tile<Operand, V, kOutputs>(
        weight + o, layer.bias + row + o,
        layer.sums ? layer.sums + static_cast<Long>(row + o) * x_stride + lane : nullptr,
        Operand::steps(layer.in) - skip, x, x_stride, y + static_cast<Long>(o) * y_stride,
        y_stride);
}

/// Calls f<R>(first row) over blocks of kRows. One AVX-512 vector of lanes takes whole groups while
/// it can: its eight sums would wait for each other. A `short_end` of up to half a block takes no
/// more; padding rows are then not written.
template <int V, class F>
SOFTMPC_HD void over_rows(int out, bool short_end, const F& f) {
  int row = 0;
  if constexpr (V == 1 && kWidth == 16)
    for (; row + kGroup <= pad_rows(out) && !(short_end && out - row <= kGroup - kRows / 2);
         row += kGroup)
      f.template operator()<kGroup>(row);
  for (; row < out; row += kRows)
    if (short_end && out - row <= kRows / 2)
      f.template operator()<kRows / 2>(row);
    else
      f.template operator()<kRows>(row);
}

template <class Operand, int V>
void dense_lanes(const PackedLayer& layer, int lane, const typename Operand::Element* x,
                 int x_stride, float* y, int y_stride) {
  y += lane;
  // outputs, such as twelve state changes or one value, are few
  over_rows<V>(layer.out, layer.activation == Activation::none, [&]<int R>(int row) {
    float* to = y + static_cast<Long>(row) * y_stride;
    dense_rows<Operand, V, R>(layer, row, lane, x, x_stride, to, y_stride);
    constexpr int kCount = V * kWidth;
    if (y_stride == kCount)
      activate(layer.activation, to, R * kCount);
    else
      for (int o = 0; o < R; ++o)
        activate(layer.activation, to + static_cast<Long>(o) * y_stride, kCount);
  });
}

/// Calls f<V>(first lane) over blocks of three, two and one vectors.
template <class F>
SOFTMPC_HD void over_lanes(int lanes, const F& f) {
  int j = 0;
  for (; j + 3 * kWidth <= lanes; j += 3 * kWidth) f.template operator()<3>(j);
  if (j + 2 * kWidth <= lanes) {
    f.template operator()<2>(j);
    j += 2 * kWidth;
  }
  if (j < lanes) f.template operator()<1>(j);
}

void dense(const PackedLayer& layer, const float* x, int x_stride, float* y, int y_stride,
           int lanes) {
  over_lanes(lanes,
             [&]<int V>(int j) { dense_lanes<Single, V>(layer, j, x, x_stride, y, y_stride); });
}

SOFTMPC_HD void narrow_rows(const float* low, const float* high, Bf16Pair* out, int count) {
#if defined(__AVX512BF16__)
  for (int j = 0; j < count; j += kWidth) {
    const __m256i l = (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(low + j));
    const __m256i h = (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(high + j));
    // masked with all ones: g++ 12 warns of the others' undefined operand
    const __m512i low16 = _mm512_maskz_cvtepu16_epi32(0xffff, l);
    const __m512i high16 =
        _mm512_maskz_slli_epi32(0xffff, _mm512_maskz_cvtepu16_epi32(0xffff, h), 16);
    _mm512_storeu_si512(out + j, _mm512_or_si512(low16, high16));
  }
#else
#pragma GCC ivdep
  for (int j = 0; j < count; ++j) out[j] = hd::pair_bf16(low[j], high[j]);
#endif
}

template <class Operand, int V>
void narrow_lanes(const PackedLayer& layer, int lane, const typename Operand::Element* x,
                  int x_stride, Bf16Pair* y, int y_stride) {
  y += lane;
  constexpr int kCount = V * kWidth;
  alignas(64) float rows[kGroup * kCount];
  over_rows<V>(layer.out, false, [&]<int R>(int row) {
    dense_rows<Operand, V, R>(layer, row, lane, x, x_stride, rows, kCount);
    activate(layer.activation, rows, R * kCount);
    for (int o = 0; o < R; o += 2)
      narrow_rows(rows + o * kCount, rows + (o + 1) * kCount,
                  y + static_cast<Long>((row + o) / 2) * y_stride, kCount);
  });
}

void dense_bf16(const PackedLayer& layer, const Bf16Pair* x, int x_stride, float* y,
                Bf16Pair* narrow, int y_stride, int lanes) {
  over_lanes(lanes, [&]<int V>(int j) {
    if (y)
      dense_lanes<Paired, V>(layer, j, x, x_stride, y, y_stride);
    else
      narrow_lanes<Paired, V>(layer, j, x, x_stride, narrow, y_stride);
  });
}

void dense_to_bf16(const PackedLayer& layer, const float* x, int x_stride, Bf16Pair* narrow,
                   int y_stride, int lanes) {
  over_lanes(lanes, [&]<int V>(int j) {
    narrow_lanes<Single, V>(layer, j, x, x_stride, narrow, y_stride);
  });
}

void sum_inputs(const PackedLayer& layer, int count, const float* x, int x_stride, float* sums) {
  for (int o = 0; o < layer.out; o += kWidth) {
    const float* weight =
        layer.weight + static_cast<Long>(o / kGroup) * layer.in * kGroup + o % kGroup;
    Vec sum = load(layer.bias + o);
    for (int i = 0; i < count; ++i, weight += kGroup)
      sum = multiply_add(x[static_cast<Long>(i) * x_stride], load(weight), sum);
    store(sums + o, sum);
  }
}

void to_bf16(const float* x, int rows, int x_stride, Bf16Pair* out, int out_stride, int lanes) {
  alignas(64) const float zeros[kLanes] = {};
  for (int i = 0; i < rows; i += 2)
    for (int j = 0; j < lanes; j += kLanes) {
      const float* low = x + static_cast<Long>(i) * x_stride + j;
      narrow_rows(low, i + 1 < rows ? low + x_stride : zeros,
                  out + static_cast<Long>(i / 2) * out_stride + j, kLanes);
    }
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
