// SPDX-License-Identifier: Apache-2.0
// Kernels for: portable. Compiler flags in src/CMakeLists.txt.
#include "cpu/kernels_impl.h"

namespace softmpc::cpu {
const Kernels kPortableKernels = {"portable", dense, normals};
}
