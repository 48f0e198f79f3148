// SPDX-License-Identifier: Apache-2.0
// Host-device functions: the numerical truth, called by CPU loops and CUDA kernels alike.
#pragma once

// Always inlined on the host: the same function is compiled for several instruction sets, and no
// out-of-line copy of one may be linked into another.
#if defined(__CUDACC__)
#define SOFTMPC_HD __host__ __device__ __forceinline__
#define SOFTMPC_UNROLL _Pragma("unroll")
#define SOFTMPC_KEEP_LOOP _Pragma("unroll 1")
#else
#define SOFTMPC_HD __attribute__((always_inline)) inline
#define SOFTMPC_UNROLL _Pragma("GCC unroll 32")
#define SOFTMPC_KEEP_LOOP
#endif
