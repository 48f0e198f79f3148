// SPDX-License-Identifier: Apache-2.0
// Storage aligned to a cache line.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <new>
#include <vector>

namespace softmpc::cpu {

template <class T>
struct CacheLineAllocator {
  using value_type = T;
  CacheLineAllocator() = default;
  template <class U>
  CacheLineAllocator(const CacheLineAllocator<U>&) {}
  T* allocate(std::size_t n) {
    return static_cast<T*>(::operator new (n * sizeof(T), std::align_val_t{64}));
  }
  void deallocate(T* p, std::size_t) { ::operator delete (p, std::align_val_t{64}); }
  template <class U>
  bool operator==(const CacheLineAllocator<U>&) const {
    return true;
  }
};

using AlignedFloats = std::vector<float, CacheLineAllocator<float>>;
using AlignedBytes = std::vector<std::byte, CacheLineAllocator<std::byte>>;

}  // namespace softmpc::cpu
