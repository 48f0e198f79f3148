// SPDX-License-Identifier: Apache-2.0
// Arrays that test and algorithm both see: the host's memory, or what CUDA shows to both. A program
// links one of shared_memory_*.cpp.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace softmpc {

/// Why the algorithms cannot run here; empty if they can.
std::string nothing_to_run_on();
void* allocate_shared(std::size_t bytes);
void free_shared(void* block);
/// Waits for what was started; throws Error if the device found a fault.
void finish_shared();

template <class T>
struct SharedAllocator {
  using value_type = T;
  SharedAllocator() = default;
  template <class U>
  SharedAllocator(const SharedAllocator<U>&) {}
  T* allocate(std::size_t count) { return static_cast<T*>(allocate_shared(count * sizeof(T))); }
  void deallocate(T* block, std::size_t) { free_shared(block); }
  bool operator==(const SharedAllocator&) const = default;
};

template <class T>
using Shared = std::vector<T, SharedAllocator<T>>;

}  // namespace softmpc
