// SPDX-License-Identifier: Apache-2.0
// LayerNorm (arXiv 1607.06450) over the units z_i of one layer and sample.
#pragma once

#include "softmpc/hd/macros.h"
#include "softmpc/hd/math.h"

namespace softmpc::hd {

inline constexpr float kLayerNormEpsilon = 1e-5f;  // PyTorch's default

// r = 1 / sqrt(v + eps), v the variance of the units
SOFTMPC_HD float layer_norm_rate(float variance) {
  return 1.0f / __builtin_sqrtf(variance + kLayerNormEpsilon);
}

// n_i = g_i c_i + s_i,  c_i = r (z_i - m),  m the mean of the units
SOFTMPC_HD float layer_norm(float centred, float scale, float shift) {
  return fma(centred, scale, shift);
}

// dL/dz_i = r (d_i - mean(d) - c_i mean(d c)),  d_i = g_i dL/dn_i
SOFTMPC_HD float layer_norm_backward(float d, float centred, float rate, float mean_d,
                                     float mean_dc) {
  return rate * (d - mean_d - centred * mean_dc);
}

}  // namespace softmpc::hd
