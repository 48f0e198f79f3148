// SPDX-License-Identifier: Apache-2.0
// What a kernel may ask of the machine. The one place that knows which: PTX on a device, the
// emulator (a fiber a thread) on a CPU.
#pragma once

#if defined(__CUDACC__)
#include "intrinsics_ptx.cuh"
#else
#include "emulator/intrinsics.h"
#endif
