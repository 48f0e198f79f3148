// SPDX-License-Identifier: Apache-2.0
// Products of 16-bit matrices: float32 sums, k ascending, exact products. Vectorised.
#pragma once

#include "emulator/machine.h"

namespace softmpc::cuda::emulator {

/// product.d = product.c + product.a product.b
void multiply_f16(Product& product);
void multiply_bf16(Product& product);

/// A warp's 16 rows of an m64nNk16 product.
struct alignas(64) WideProduct {
  std::uint16_t a[16][16];   // [k][row]
  std::uint16_t b[256][16];  // [column][k]
  float d[256][16];          // [column][row]
};
/// d += a b for the first `columns` columns
void multiply_wide_f16(WideProduct& product, int columns);
void multiply_wide_bf16(WideProduct& product, int columns);

}  // namespace softmpc::cuda::emulator
