// SPDX-License-Identifier: Apache-2.0
// One binary, the CPU's widest registers: a function compiled for several instruction sets.
#pragma once

/// Before the definition of a free function with loops over lanes: it is compiled for AVX-512, AVX2
/// and the baseline, and the loader picks what the CPU runs. Inside, call only always-inlined
/// functions (SOFTMPC_HD); compile with -O3 -ffp-contract=off -fno-math-errno -fno-trapping-math,
/// then the loops vectorise and the bits are the same on every CPU. Does nothing where compiler,
/// platform or a sanitizer (whose start-up comes after the loader's choice) has no such choice.
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__CUDACC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define SOFTMPC_MULTIVERSION __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define SOFTMPC_MULTIVERSION
#endif
