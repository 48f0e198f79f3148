// SPDX-License-Identifier: Apache-2.0
#include <bit>
#include <new>
#include <string>

#include "algorithms/algorithms.h"
#include "softmpc/error.h"

#if defined(__CUDACC__)
#include <cuda_runtime_api.h>
#endif

namespace softmpc::algorithms {
namespace {

constexpr std::size_t kLeast = 256;  // bytes, and the alignment of a block

#if defined(__CUDACC__)
char* take(std::size_t bytes) {
  void* block = nullptr;
  const cudaError_t code = cudaMalloc(&block, bytes);
  if (code != cudaSuccess)
    throw Error("cuda: cannot allocate " + std::to_string(bytes) +
                " bytes for a workspace: " + cudaGetErrorString(code));
  return static_cast<char*>(block);
}
void give_back(char* block) { cudaFree(block); }
#else
char* take(std::size_t bytes) {
  return static_cast<char*>(::operator new (bytes, std::align_val_t{kLeast}));
}
void give_back(char* block) { ::operator delete (block, std::align_val_t{kLeast}); }
#endif

std::size_t class_of(std::size_t bytes) {
  return static_cast<std::size_t>(std::bit_width(bytes > kLeast ? bytes - 1 : kLeast - 1));
}

}  // namespace

Workspace::~Workspace() {
  for (char* block : owned_) give_back(block);
}

char* Workspace::allocate(std::ptrdiff_t bytes) {
  const std::size_t power = class_of(static_cast<std::size_t>(bytes));
  if (bytes < 0 || power > 62)
    throw Error("workspace: a block of " + std::to_string(bytes) + " bytes cannot be");
  std::vector<char*>& free = free_[power];
  if (!free.empty()) {
    char* block = free.back();
    free.pop_back();
    return block;
  }
  // room first, so that what follows cannot fail with a block in hand, and giving back never does
  owned_.reserve(owned_.size() + 1);
  free.reserve(owned_.size() + 1);
  owned_.push_back(take(std::size_t{1} << power));
  return owned_.back();
}

void Workspace::deallocate(char* block, std::size_t bytes) noexcept {
  free_[class_of(bytes)].push_back(block);
}

}  // namespace softmpc::algorithms
