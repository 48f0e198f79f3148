// SPDX-License-Identifier: Apache-2.0
// Kernels for: avx2. Compiler flags in src/CMakeLists.txt.
#include "cpu/kernels_impl.h"

namespace softmpc::cpu {
const Kernels kAvx2Kernels = {"avx2", dense, normals};
}
