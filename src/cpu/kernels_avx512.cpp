// SPDX-License-Identifier: Apache-2.0
// Kernels for: avx512. Compiler flags in src/CMakeLists.txt.
#include "cpu/kernels_impl.h"

namespace softmpc::cpu {
const Kernels kAvx512Kernels = {"avx512", dense, normals};
}
