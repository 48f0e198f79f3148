// SPDX-License-Identifier: Apache-2.0
// Counts every operator new and delete of the process. For one source file of a program.
#pragma once

#include <atomic>
#include <cstdlib>
#include <new>

namespace softmpc::testing {

inline std::atomic<long> allocations{0}, frees{0};

inline void* allocate_counted(std::size_t size, std::size_t alignment) noexcept {
  ++allocations;
  const std::size_t whole = (size + alignment - 1) / alignment * alignment;
  return std::aligned_alloc(alignment, whole > 0 ? whole : alignment);
}

inline void* counted(std::size_t size, std::size_t alignment) {
  void* const p = allocate_counted(size, alignment);
  if (!p) throw std::bad_alloc();
  return p;
}

inline void free_counted(void* p) noexcept {
  ++frees;
  std::free(p);
}

}  // namespace softmpc::testing

// The array forms forward to these; so would the nothrow form, but not AddressSanitizer's. Not
// inlined: GCC would compare an inlined free() with the operator new that it does not see into.
#define SOFTMPC_NOT_INLINED __attribute__((noinline))
SOFTMPC_NOT_INLINED void* operator new(std::size_t size) {
  return softmpc::testing::counted(size, __STDCPP_DEFAULT_NEW_ALIGNMENT__);
}
SOFTMPC_NOT_INLINED void* operator new(std::size_t size, std::align_val_t a) {
  return softmpc::testing::counted(size, static_cast<std::size_t>(a));
}
SOFTMPC_NOT_INLINED void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return softmpc::testing::allocate_counted(size, __STDCPP_DEFAULT_NEW_ALIGNMENT__);
}
SOFTMPC_NOT_INLINED void operator delete(void* p) noexcept { softmpc::testing::free_counted(p); }
SOFTMPC_NOT_INLINED void operator delete(void* p, std::size_t) noexcept {
  softmpc::testing::free_counted(p);
}
SOFTMPC_NOT_INLINED void operator delete(void* p, std::align_val_t) noexcept {
  softmpc::testing::free_counted(p);
}
SOFTMPC_NOT_INLINED void operator delete(void* p, std::size_t, std::align_val_t) noexcept {
  softmpc::testing::free_counted(p);
}
#undef SOFTMPC_NOT_INLINED
