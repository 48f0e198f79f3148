// SPDX-License-Identifier: Apache-2.0
// Compiled once per Highway target: included by highway.cpp only.
#if defined(SOFTMPC_HIGHWAY_KERNEL_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef SOFTMPC_HIGHWAY_KERNEL_INL
#undef SOFTMPC_HIGHWAY_KERNEL_INL
#else
#define SOFTMPC_HIGHWAY_KERNEL_INL
#endif

HWY_BEFORE_NAMESPACE();
namespace softmpc::bench {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// At most 16 lanes, so that blocks of 16 rows exist on every target.
using D = hn::CappedTag<float, 16>;
using V = hn::Vec<D>;
// outputs x 3 vectors of accumulators within the target's registers, as our own kernels have it
constexpr int kOutputs = HWY_TARGET <= HWY_AVX3 ? 8 : 4;
constexpr int kGroup = 8;

struct LibraryExp {
  HWY_INLINE V operator()(D d, V z) const { return hn::Exp(d, z); }
};

struct PolynomialExp {  // the steps of softmpc/hd/math.h
  HWY_INLINE V operator()(D d, V x) const {
    const hn::RebindToUnsigned<D> du;
    x = hn::Min(hn::Max(x, hn::Set(d, -87.3f)), hn::Set(d, 88.3f));
    const V shift = hn::Set(d, 12582912.0f);
    const V t = hn::MulAdd(x, hn::Set(d, 1.44269504088896341f), shift);
    const V n = hn::Sub(t, shift);
    V r = hn::MulAdd(n, hn::Set(d, -0.693359375f), x);
    r = hn::MulAdd(n, hn::Set(d, 2.12194440e-4f), r);
    V p = hn::Set(d, 1.9875691500e-4f);
    p = hn::MulAdd(p, r, hn::Set(d, 1.3981999507e-3f));
    p = hn::MulAdd(p, r, hn::Set(d, 8.3334519073e-3f));
    p = hn::MulAdd(p, r, hn::Set(d, 4.1665795894e-2f));
    p = hn::MulAdd(p, r, hn::Set(d, 1.6666665459e-1f));
    p = hn::MulAdd(p, r, hn::Set(d, 5.0000001201e-1f));
    const V y = hn::Add(hn::MulAdd(p, hn::Mul(r, r), r), hn::Set(d, 1.0f));
    const auto exponent =
        hn::ShiftLeft<23>(hn::Sub(hn::BitCast(du, t), hn::Set(du, 0x4b400000u - 127u)));
    return hn::Mul(y, hn::BitCast(d, exponent));
  }
};

template <class E>
HWY_INLINE V Silu(D d, V z) {
  return hn::Div(z, hn::Add(hn::Set(d, 1.0f), E()(d, hn::Neg(z))));
}

// SiLU is applied in the registers: no second pass.
template <class E, int kVectors>
HWY_INLINE void Tile(const float* weight, const float* bias, int in, bool silu, const float* x,
                     float* y, int stride) {
  const D d;
  const int n = static_cast<int>(hn::Lanes(d));
  V sum[kOutputs][kVectors];
#pragma GCC unroll 8
  for (int o = 0; o < kOutputs; ++o)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sum[o][v] = hn::Set(d, bias[o]);
  for (int i = 0; i < in; ++i, x += stride, weight += kGroup) {
    V xi[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) xi[v] = hn::LoadU(d, x + v * n);
#pragma GCC unroll 8
    for (int o = 0; o < kOutputs; ++o)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v)
        sum[o][v] = hn::MulAdd(hn::Set(d, weight[o]), xi[v], sum[o][v]);
  }
#pragma GCC unroll 8
  for (int o = 0; o < kOutputs; ++o)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v)
      hn::StoreU(silu ? Silu<E>(d, sum[o][v]) : sum[o][v], d, y + o * stride + v * n);
}

template <class E, int kVectors>
HWY_INLINE void Lanes(const float* weight, const float* bias, int in, int out, bool silu,
                      const float* x, float* y, int stride) {
  for (int o = 0; o < out; o += kGroup, weight += static_cast<long>(in) * kGroup)
    for (int part = 0; part < kGroup; part += kOutputs)
      Tile<E, kVectors>(weight + part, bias + o + part, in, silu, x,
                        y + static_cast<long>(o + part) * stride, stride);
}

template <class E>
HWY_INLINE void Dense(const float* weight, const float* bias, int in, int out, bool silu,
                      const float* x, float* y, int lanes) {
  const int n = static_cast<int>(hn::Lanes(D()));
  int j = 0;
  for (; j + 3 * n <= lanes; j += 3 * n)
    Lanes<E, 3>(weight, bias, in, out, silu, x + j, y + j, lanes);
  for (; j < lanes; j += n) Lanes<E, 1>(weight, bias, in, out, silu, x + j, y + j, lanes);
}

void DenseLibrary(const float* weight, const float* bias, int in, int out, bool silu,
                  const float* x, float* y, int lanes) {
  Dense<LibraryExp>(weight, bias, in, out, silu, x, y, lanes);
}
void DensePolynomial(const float* weight, const float* bias, int in, int out, bool silu,
                     const float* x, float* y, int lanes) {
  Dense<PolynomialExp>(weight, bias, in, out, silu, x, y, lanes);
}

}  // namespace HWY_NAMESPACE
}  // namespace softmpc::bench
HWY_AFTER_NAMESPACE();

#endif
