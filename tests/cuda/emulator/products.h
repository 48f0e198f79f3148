// SPDX-License-Identifier: Apache-2.0
// Products of 16-bit matrices: float32 sums, k ascending, exact products. Vectorised.
#pragma once

#include "machine.h"

namespace softmpc::cuda::emulator {

/// product.d = product.c + product.a product.b
void multiply_f16(Product& product);
void multiply_bf16(Product& product);

}  // namespace softmpc::cuda::emulator
