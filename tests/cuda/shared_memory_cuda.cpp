// SPDX-License-Identifier: Apache-2.0
#include <cuda_runtime_api.h>

#include <cstdlib>
#include <new>

#include "shared_memory.h"
#include "softmpc/error.h"

namespace softmpc {

std::string nothing_to_run_on() {
  if (const char* device = std::getenv("SOFTMPC_TEST_DEVICE");
      device == nullptr || std::string(device) != "cuda")
    return "needs a GPU, and SOFTMPC_TEST_DEVICE is not cuda";
  return {};
}

void* allocate_shared(std::size_t bytes) {
  void* block = nullptr;
  if (cudaMallocManaged(&block, bytes) != cudaSuccess) throw std::bad_alloc();
  return block;
}

void free_shared(void* block) { cudaFree(block); }

void finish_shared() {
  if (const cudaError_t code = cudaDeviceSynchronize(); code != cudaSuccess)
    throw Error(cudaGetErrorString(code));
}

}  // namespace softmpc
