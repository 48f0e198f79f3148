// SPDX-License-Identifier: Apache-2.0
// The CUDA driver's functions, resolved when a device is first asked for: a program that links this
// library starts without a driver.
#pragma once

#include <cuda.h>

#include <string>

namespace softmpc::cuda {

// X(function): what is used of the driver, under the names that cuda.h gives its newest versions
#define SOFTMPC_DRIVER_FUNCTIONS(X) \
  X(cuInit)                         \
  X(cuDriverGetVersion)             \
  X(cuGetErrorName)                 \
  X(cuGetErrorString)               \
  X(cuDeviceGetCount)               \
  X(cuDeviceGet)                    \
  X(cuDeviceGetName)                \
  X(cuDeviceGetAttribute)           \
  X(cuDeviceTotalMem)               \
  X(cuDevicePrimaryCtxRetain)       \
  X(cuDevicePrimaryCtxRelease)      \
  X(cuDevicePrimaryCtxReset)        \
  X(cuCtxPushCurrent)               \
  X(cuCtxPopCurrent)                \
  X(cuCtxSynchronize)               \
  X(cuCtxGetStreamPriorityRange)    \
  X(cuStreamCreateWithPriority)     \
  X(cuStreamDestroy)                \
  X(cuStreamSynchronize)            \
  X(cuStreamBeginCapture)           \
  X(cuStreamEndCapture)             \
  X(cuMemAlloc)                     \
  X(cuMemFree)                      \
  X(cuMemHostAlloc)                 \
  X(cuMemFreeHost)                  \
  X(cuMemGetInfo)                   \
  X(cuMemsetD8Async)                \
  X(cuMemcpyHtoDAsync)              \
  X(cuMemcpyDtoHAsync)              \
  X(cuModuleLoadData)               \
  X(cuModuleUnload)                 \
  X(cuModuleGetFunction)            \
  X(cuFuncSetAttribute)             \
  X(cuOccupancyMaxActiveClusters)   \
  X(cuLaunchKernelEx)               \
  X(cuGraphInstantiate)             \
  X(cuGraphUpload)                  \
  X(cuGraphLaunch)                  \
  X(cuGraphDestroy)                 \
  X(cuGraphExecDestroy)             \
  X(cuEventCreate)                  \
  X(cuEventDestroy)                 \
  X(cuEventRecord)                  \
  X(cuEventSynchronize)

// the macro's argument is cuda.h's versioned name by then: cuMemAlloc_v2
struct Driver {
#define SOFTMPC_FIELD(name) decltype(&::name) name = nullptr;
  SOFTMPC_DRIVER_FUNCTIONS(SOFTMPC_FIELD)
#undef SOFTMPC_FIELD
  // under its first name, which older drivers have as well
  CUresult(CUDAAPI* elapsed_time)(float* milliseconds, CUevent, CUevent) = nullptr;
  int version = 0;  ///< of CUDA: 13000
};

/// The least CUDA version of a driver: clusters, launch attributes, graphs by flags.
inline constexpr int kLeastDriver = 12000;
/// The least compute capability: cp.async, ldmatrix, mma of bfloat16.
inline constexpr int kLeastCapability = 80;

/// The driver, initialised. Throws Error in a sentence that says what is missing.
const Driver& driver();
/// The first device. Throws Error if there is none, or it is too old.
CUdevice first_device();

/// "CUDA_ERROR_ILLEGAL_ADDRESS (an illegal memory access was encountered)"
std::string describe(CUresult result);
/// "12.4" for 12040.
std::string version_text(int version);
int attribute(CUdevice device, CUdevice_attribute which);

}  // namespace softmpc::cuda
