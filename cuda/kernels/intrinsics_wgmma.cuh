// SPDX-License-Identifier: Apache-2.0
// Products of a warpgroup (128 threads, sm_90a): d[64, N] += a[64, 16] b[16, N], without waiting.
// Of one batch:
//   wgmma_fence();                              // registers were written
//   wgmma_f16<256>(d, a, descriptor);  ...      // any number, of one shape
//   wgmma_commit();
//   wgmma_wait<0>(); wgmma_hold(d);             // now d may be read, a and b overwritten
// Rows and columns of d and a: wgmma_accumulator() and wgmma_a() of fragments.h. B lies in shared
// memory, 8 numbers of one output (16 bytes) together; after ordinary stores to it every writer
// calls fence_async() before the barrier that its readers wait at.
#pragma once

#include <cstdint>

#include "fragments.h"
#include "softmpc/hd/macros.h"

#if !defined(__CUDACC__)
#include "emulator/wgmma.h"
#else
#include "intrinsics_ptx.cuh"
#endif

namespace softmpc::cuda {

/// How an operand tile of [rows (n of B, m of A)][k] lies. `plain`: 8 rows of 8 numbers (128 bytes)
/// together, such blocks `leading` bytes apart along k and `stride` bytes along the rows.
/// `swizzled`: rows of 64 numbers (128 bytes), from a multiple of 1,024 bytes on, 8 rows together,
/// such blocks `stride` bytes apart; 16 bytes i of row r are at place i ^ r % 8.
enum class WgmmaLayout : int { plain = 0, swizzled = 1 };

/// Byte of number (row, k) in a plain tile of `rows` rows: leading = 16 rows, stride = 128.
SOFTMPC_HD constexpr int wgmma_plain_byte(int rows, int row, int k) {
  return k / 8 * 16 * rows + row * 16 + k % 8 * 2;
}
/// Byte of number (row, k < 64) in a swizzled tile: stride = 1024. A descriptor of its k16 step s
/// names the tile's address + 32 s; the next 64 numbers along k are another tile.
SOFTMPC_HD constexpr int wgmma_swizzled_byte(int row, int k) {
  return row * 128 + (k / 8 ^ row % 8) * 16 + k % 8 * 2;
}

/// Bit fields of a matrix descriptor: start, leading, stride (each / 16), swizzle.
SOFTMPC_HD constexpr std::uint64_t wgmma_descriptor_bits(std::uint32_t address, WgmmaLayout layout,
                                                         int leading, int stride) {
  return (static_cast<std::uint64_t>(address & 0x3ffffu) >> 4) |
         static_cast<std::uint64_t>((leading & 0x3ffff) >> 4) << 16 |
         static_cast<std::uint64_t>((stride & 0x3ffff) >> 4) << 32 |
         static_cast<std::uint64_t>(layout) << 62;
}

SOFTMPC_DEVICE std::uint64_t wgmma_descriptor(const void* shared, WgmmaLayout layout, int leading,
                                              int stride) {
  return wgmma_descriptor_bits(shared_address(shared), layout, leading, stride);
}
/// Of a tile laid out by wgmma_plain_byte().
SOFTMPC_DEVICE std::uint64_t wgmma_plain(const void* shared, int rows) {
  return wgmma_descriptor(shared, WgmmaLayout::plain, 16 * rows, 128);
}
/// Of a tile laid out by wgmma_swizzled_byte(), + 32 s for its k16 step s.
SOFTMPC_DEVICE std::uint64_t wgmma_swizzled(const void* shared) {
  return wgmma_descriptor(shared, WgmmaLayout::swizzled, 16, 1024);
}

#if defined(__CUDACC__)

/// Orders this thread's stores to shared memory before later reads by wgmma and bulk copies.
SOFTMPC_DEVICE void fence_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
SOFTMPC_DEVICE void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
SOFTMPC_DEVICE void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
/// Waits until all but the latest `pending` committed groups are done.
template <int pending>
SOFTMPC_DEVICE void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}
/// Keeps the compiler from moving uses of registers across; at a wait and before a batch.
template <int count>
SOFTMPC_DEVICE void wgmma_hold(float (&d)[count]) {
#pragma unroll
  for (int i = 0; i < count; ++i) asm volatile("" : "+f"(d[i])::"memory");
}
/// Registers a thread of this warpgroup may use from now on, 24 to 240 in steps of 8. The kernel
/// must have been compiled for a fixed number of threads.
template <int count>
SOFTMPC_DEVICE void registers_up() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(count));
}
template <int count>
SOFTMPC_DEVICE void registers_down() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(count));
}

// operands of the accumulators: "%0, %1, ..." in the text, "+f"(d[0]), ... in the list
#define SOFTMPC_T8 "%0, %1, %2, %3, %4, %5, %6, %7"
#define SOFTMPC_T16 SOFTMPC_T8 ", %8, %9, %10, %11, %12, %13, %14, %15"
#define SOFTMPC_T32 \
  SOFTMPC_T16 ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define SOFTMPC_T64                                                                  \
  SOFTMPC_T32                                                                        \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47" \
  ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define SOFTMPC_T128                                                                 \
  SOFTMPC_T64                                                                        \
  ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79" \
  ", %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95" \
  ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109" \
  ", %110, %111, %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122"   \
  ", %123, %124, %125, %126, %127"
#define SOFTMPC_L4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define SOFTMPC_L8(i) SOFTMPC_L4(i), SOFTMPC_L4(i + 4)
#define SOFTMPC_L16(i) SOFTMPC_L8(i), SOFTMPC_L8(i + 8)
#define SOFTMPC_L32(i) SOFTMPC_L16(i), SOFTMPC_L16(i + 16)
#define SOFTMPC_L64(i) SOFTMPC_L32(i), SOFTMPC_L32(i + 32)
#define SOFTMPC_L128(i) SOFTMPC_L64(i), SOFTMPC_L64(i + 64)

// One instruction: `count` = N / 2 accumulators, then operands a0..a4 (their numbers).
#define SOFTMPC_WGMMA_A(N, count, type, a0, a1, a2, a3, a4, a5)                           \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #a5                                   \
               ", 0;\n"                                                                   \
               "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." type "." type            \
               " {" SOFTMPC_T##count "}, {%" #a0 ", %" #a1 ", %" #a2 ", %" #a3 "}, %" #a4 \
                                     ", p, 1, 1, 0;\n}"                                   \
               : SOFTMPC_L##count(0)                                                      \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(accumulate ? 1 : 0))
#define SOFTMPC_WGMMA_S(N, count, type, a0, a1, a2)                             \
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #a2                         \
               ", 0;\n"                                                         \
               "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." type "." type  \
               " {" SOFTMPC_T##count "}, %" #a0 ", %" #a1 ", p, 1, 1, 0, 0;\n}" \
               : SOFTMPC_L##count(0)                                            \
               : "l"(a), "l"(b), "n"(accumulate ? 1 : 0))
#define SOFTMPC_WGMMA_BODY(type)                                                  \
  static_assert(N == 16 || N == 32 || N == 64 || N == 128 || N == 256);           \
  if constexpr (N == 16) SOFTMPC_WGMMA_A(16, 8, type, 8, 9, 10, 11, 12, 13);      \
  if constexpr (N == 32) SOFTMPC_WGMMA_A(32, 16, type, 16, 17, 18, 19, 20, 21);   \
  if constexpr (N == 64) SOFTMPC_WGMMA_A(64, 32, type, 32, 33, 34, 35, 36, 37);   \
  if constexpr (N == 128) SOFTMPC_WGMMA_A(128, 64, type, 64, 65, 66, 67, 68, 69); \
  if constexpr (N == 256) SOFTMPC_WGMMA_A(256, 128, type, 128, 129, 130, 131, 132, 133)
#define SOFTMPC_WGMMA_SHARED_BODY(type)                                 \
  static_assert(N == 16 || N == 32 || N == 64 || N == 128 || N == 256); \
  if constexpr (N == 16) SOFTMPC_WGMMA_S(16, 8, type, 8, 9, 10);        \
  if constexpr (N == 32) SOFTMPC_WGMMA_S(32, 16, type, 16, 17, 18);     \
  if constexpr (N == 64) SOFTMPC_WGMMA_S(64, 32, type, 32, 33, 34);     \
  if constexpr (N == 128) SOFTMPC_WGMMA_S(128, 64, type, 64, 65, 66);   \
  if constexpr (N == 256) SOFTMPC_WGMMA_S(256, 128, type, 128, 129, 130)

/// d += a b, or d = a b; a in registers, b a descriptor. All 128 threads, the same b.
template <int N, bool accumulate = true>
SOFTMPC_DEVICE void wgmma_f16(float (&d)[N / 2], const std::uint32_t (&a)[4], std::uint64_t b) {
  SOFTMPC_WGMMA_BODY("f16");
}
template <int N, bool accumulate = true>
SOFTMPC_DEVICE void wgmma_bf16(float (&d)[N / 2], const std::uint32_t (&a)[4], std::uint64_t b) {
  SOFTMPC_WGMMA_BODY("bf16");
}
/// The same with a in shared memory: 64 rows, of a layout as b's.
template <int N, bool accumulate = true>
SOFTMPC_DEVICE void wgmma_f16_shared(float (&d)[N / 2], std::uint64_t a, std::uint64_t b) {
  SOFTMPC_WGMMA_SHARED_BODY("f16");
}
template <int N, bool accumulate = true>
SOFTMPC_DEVICE void wgmma_bf16_shared(float (&d)[N / 2], std::uint64_t a, std::uint64_t b) {
  SOFTMPC_WGMMA_SHARED_BODY("bf16");
}

#endif

}  // namespace softmpc::cuda
