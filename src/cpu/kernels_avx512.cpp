// SPDX-License-Identifier: Apache-2.0
// Kernels for: avx512. Compiler flags in src/CMakeLists.txt.
#include "cpu/kernels_norm_impl.h"

namespace softmpc::cpu {
const Kernels kAvx512Kernels = {
    "avx512", false,         dense,      dense_bf16, dense_to_bf16,
    to_bf16,  normals,       sum_inputs, layer_norm, dense_transposed,
    silu,     silu_backward, transpose,  descend,    layer_norm_backward};
}
