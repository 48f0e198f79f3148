// SPDX-License-Identifier: Apache-2.0
// What kernels/intrinsics_wgmma.cuh has, for a CPU. A product happens when a wait demands it
// (Timing::late), then it reads shared memory; results are in `d` from then on. A warp computes its
// 16 rows; that all four called the same is checked.
#pragma once

#include <cstdint>

#include "emulator/intrinsics.h"

namespace softmpc::cuda {

namespace emulator {
void wgmma_wait(int pending);
/// `a` null: in shared memory, by its descriptor.
void wgmma(bool bf16, bool accumulate, int n, float* d, const std::uint32_t* a,
           std::uint64_t a_descriptor, std::uint64_t b_descriptor);
void set_registers(int count);
}  // namespace emulator

inline void fence_async() {}
void wgmma_fence();
void wgmma_commit();
template <int pending>
inline void wgmma_wait() {
  emulator::wgmma_wait(pending);
}
template <int count>
inline void wgmma_hold(float (&d)[count]) {
  (void)d;
}
template <int count>
inline void registers_up() {
  static_assert(count >= 24 && count <= 256 && count % 8 == 0);
  emulator::set_registers(count);
}
template <int count>
inline void registers_down() {
  static_assert(count >= 24 && count <= 256 && count % 8 == 0);
  emulator::set_registers(count);
}

template <int N, bool accumulate = true>
inline void wgmma_f16(float (&d)[N / 2], const std::uint32_t (&a)[4], std::uint64_t b) {
  static_assert(N == 16 || N == 32 || N == 64 || N == 128 || N == 256);
  emulator::wgmma(false, accumulate, N, d, a, 0, b);
}
template <int N, bool accumulate = true>
inline void wgmma_bf16(float (&d)[N / 2], const std::uint32_t (&a)[4], std::uint64_t b) {
  static_assert(N == 16 || N == 32 || N == 64 || N == 128 || N == 256);
  emulator::wgmma(true, accumulate, N, d, a, 0, b);
}
template <int N, bool accumulate = true>
inline void wgmma_f16_shared(float (&d)[N / 2], std::uint64_t a, std::uint64_t b) {
  static_assert(N == 16 || N == 32 || N == 64 || N == 128 || N == 256);
  emulator::wgmma(false, accumulate, N, d, nullptr, a, b);
}
template <int N, bool accumulate = true>
inline void wgmma_bf16_shared(float (&d)[N / 2], std::uint64_t a, std::uint64_t b) {
  static_assert(N == 16 || N == 32 || N == 64 || N == 128 || N == 256);
  emulator::wgmma(true, accumulate, N, d, nullptr, a, b);
}

}  // namespace softmpc::cuda
