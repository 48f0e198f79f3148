// SPDX-License-Identifier: Apache-2.0
// A libcuda.so.1 without a device: memory is the host's, kernels do nothing, and the environment
// variable FAKE_CUDA says what goes wrong:
//   old, none, v70        the driver is too old, there is no device, it is too old
//   full                  no memory is left
//   fault                 waiting finds a fault, which lasts until the context is reset
//   image                 cubins are refused
//   groups                processors are missing in some groups: fewer clusters run at a time
#include <cuda.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <mutex>
#include <set>
#include <string_view>
#include <vector>

namespace {

bool mode(std::string_view name) {
  const char* value = std::getenv("FAKE_CUDA");
  return value != nullptr && name == value;
}

struct Work {
  std::vector<std::function<void()>> steps;
};

struct FakeStream {
  Work* recording = nullptr;
};
FakeStream* of(CUstream stream) { return reinterpret_cast<FakeStream*>(stream); }

thread_local int contexts = 0;  // pushed
std::mutex mutex;               // of all below
int retained = 0;               // holders of the primary context
std::atomic<bool> faulted = false;
std::set<void*> memory;  // what the context holds
std::set<Work*> executables;
std::set<FakeStream*> streams;

void end_context() {
  faulted = false;
  for (FakeStream* stream : streams) delete stream;
  streams.clear();
  for (void* pointer : memory) std::free(pointer);
  for (Work* work : executables) delete work;
  memory.clear();
  executables.clear();
}

// What is not, or no longer, of this context is refused.
CUresult free_memory(void* pointer) {
  const std::lock_guard lock(mutex);
  if (memory.erase(pointer) == 0) return CUDA_ERROR_INVALID_VALUE;
  std::free(pointer);
  return CUDA_SUCCESS;
}

CUresult result() { return faulted ? CUDA_ERROR_ILLEGAL_ADDRESS : CUDA_SUCCESS; }

void* keep(std::size_t bytes) {
  const std::lock_guard lock(mutex);
  return *memory.insert(std::malloc(bytes)).first;
}

CUresult perform(CUstream stream, std::function<void()> step) {
  if (contexts == 0) return CUDA_ERROR_INVALID_CONTEXT;
  if (faulted) return result();
  if (Work* recording = of(stream)->recording)
    recording->steps.push_back(std::move(step));
  else
    step();
  return CUDA_SUCCESS;
}

template <class T>
T* some(T*& place) {
  static char thing;
  return place = reinterpret_cast<T*>(&thing);
}

}  // namespace

#define FAKE(name, ...) CUresult CUDAAPI name(__VA_ARGS__)

FAKE(cuInit, unsigned) { return mode("none") ? CUDA_ERROR_NO_DEVICE : CUDA_SUCCESS; }
FAKE(cuDriverGetVersion, int* version) {
  *version = mode("old") ? 11040 : 13000;
  return CUDA_SUCCESS;
}
FAKE(cuGetErrorName, CUresult error, const char** text) {
  *text = error == CUDA_ERROR_ILLEGAL_ADDRESS ? "CUDA_ERROR_ILLEGAL_ADDRESS" : "CUDA_ERROR_FAKE";
  return CUDA_SUCCESS;
}
FAKE(cuGetErrorString, CUresult, const char** text) {
  *text = "in a test";
  return CUDA_SUCCESS;
}
FAKE(cuDeviceGetCount, int* count) {
  *count = 1;
  return CUDA_SUCCESS;
}
FAKE(cuDeviceGet, CUdevice* device, int) {
  *device = 0;
  return CUDA_SUCCESS;
}
FAKE(cuDeviceGetName, char* name, int size, CUdevice) {
  std::strncpy(name, "Fake", static_cast<std::size_t>(size));
  return CUDA_SUCCESS;
}
FAKE(cuDeviceGetAttribute, int* value, CUdevice_attribute which, CUdevice) {
  switch (which) {
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
      *value = mode("v70") ? 7 : 9;
      break;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN:
      *value = 227 << 10;
      break;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
      *value = 132;
      break;
    default:
      *value = which == CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH;
  }
  return CUDA_SUCCESS;
}
FAKE(cuDeviceTotalMem, std::size_t* bytes, CUdevice) {
  *bytes = std::size_t{1} << 36;
  return CUDA_SUCCESS;
}
FAKE(cuDevicePrimaryCtxRetain, CUcontext* context, CUdevice) {
  some(*context);
  const std::lock_guard lock(mutex);
  ++retained;
  return CUDA_SUCCESS;
}
FAKE(cuDevicePrimaryCtxRelease, CUdevice) {
  const std::lock_guard lock(mutex);
  if (--retained == 0) end_context();
  return CUDA_SUCCESS;
}
FAKE(cuDevicePrimaryCtxReset, CUdevice) {
  const std::lock_guard lock(mutex);
  end_context();
  return CUDA_SUCCESS;
}
FAKE(cuCtxPushCurrent, CUcontext) {
  ++contexts;
  return CUDA_SUCCESS;
}
FAKE(cuCtxPopCurrent, CUcontext* context) {
  some(*context);
  --contexts;
  return CUDA_SUCCESS;
}
FAKE(cuCtxSynchronize) { return result(); }
FAKE(cuCtxGetStreamPriorityRange, int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return result();
}
FAKE(cuStreamCreateWithPriority, CUstream* stream, unsigned, int) {
  const std::lock_guard lock(mutex);
  *stream = reinterpret_cast<CUstream>(*streams.insert(new FakeStream).first);
  return result();
}
FAKE(cuStreamDestroy, CUstream stream) {
  const std::lock_guard lock(mutex);
  if (streams.erase(of(stream)) == 0) return CUDA_ERROR_INVALID_HANDLE;
  delete of(stream);
  return CUDA_SUCCESS;
}
FAKE(cuStreamSynchronize, CUstream) {
  if (mode("fault")) faulted = true;
  return result();
}
FAKE(cuStreamBeginCapture, CUstream stream, CUstreamCaptureMode) {
  of(stream)->recording = new Work;
  return CUDA_SUCCESS;
}
FAKE(cuStreamEndCapture, CUstream stream, CUgraph* graph) {
  *graph = reinterpret_cast<CUgraph>(of(stream)->recording);
  of(stream)->recording = nullptr;
  return CUDA_SUCCESS;
}
FAKE(cuMemAlloc, CUdeviceptr* pointer, std::size_t bytes) {
  if (mode("full")) return CUDA_ERROR_OUT_OF_MEMORY;
  if (faulted) return result();
  void* place = keep(bytes);
  std::memset(place, 0xff, bytes);
  *pointer = reinterpret_cast<CUdeviceptr>(place);
  return CUDA_SUCCESS;
}
FAKE(cuMemFree, CUdeviceptr pointer) { return free_memory(reinterpret_cast<void*>(pointer)); }
FAKE(cuMemHostAlloc, void** pointer, std::size_t bytes, unsigned) {
  if (faulted) return result();
  *pointer = keep(bytes);
  return CUDA_SUCCESS;
}
FAKE(cuMemFreeHost, void* pointer) { return free_memory(pointer); }
FAKE(cuMemGetInfo, std::size_t* free, std::size_t* total) {
  *free = 1000;
  *total = 2000;
  return CUDA_SUCCESS;
}
FAKE(cuMemsetD8Async, CUdeviceptr to, unsigned char value, std::size_t bytes, CUstream stream) {
  return perform(stream, [=] { std::memset(reinterpret_cast<void*>(to), value, bytes); });
}
FAKE(cuMemcpyHtoDAsync, CUdeviceptr to, const void* from, std::size_t bytes, CUstream stream) {
  return perform(stream, [=] { std::memcpy(reinterpret_cast<void*>(to), from, bytes); });
}
FAKE(cuMemcpyDtoHAsync, void* to, CUdeviceptr from, std::size_t bytes, CUstream stream) {
  return perform(stream, [=] { std::memcpy(to, reinterpret_cast<void*>(from), bytes); });
}
FAKE(cuModuleLoadData, CUmodule* module, const void*) {
  some(*module);
  return mode("image") ? CUDA_ERROR_INVALID_IMAGE : result();
}
FAKE(cuModuleUnload, CUmodule) { return CUDA_SUCCESS; }
FAKE(cuModuleGetFunction, CUfunction* function, CUmodule, const char*) {
  some(*function);
  return result();
}
FAKE(cuFuncSetAttribute, CUfunction, CUfunction_attribute, int) { return result(); }
FAKE(cuOccupancyMaxActiveClusters, int* count, CUfunction, const CUlaunchConfig* config) {
  if (config->numAttrs != 1 || config->attrs->value.clusterDim.x < 2)
    return CUDA_ERROR_INVALID_VALUE;
  *count = mode("groups") ? 8 : 16;
  return result();
}
FAKE(cuLaunchKernelEx, const CUlaunchConfig* config, CUfunction, void**, void**) {
  return perform(config->hStream, [] {});
}
FAKE(cuGraphInstantiate, CUgraphExec* executable, CUgraph graph, unsigned long long) {
  if (faulted) return result();
  const std::lock_guard lock(mutex);
  Work* work = *executables.insert(new Work(*reinterpret_cast<Work*>(graph))).first;
  *executable = reinterpret_cast<CUgraphExec>(work);
  return CUDA_SUCCESS;
}
FAKE(cuGraphUpload, CUgraphExec, CUstream) { return result(); }
FAKE(cuGraphLaunch, CUgraphExec executable, CUstream stream) {
  return perform(stream, [=] {
    for (const auto& step : reinterpret_cast<Work*>(executable)->steps) step();
  });
}
FAKE(cuGraphDestroy, CUgraph graph) {
  delete reinterpret_cast<Work*>(graph);
  return CUDA_SUCCESS;
}
FAKE(cuGraphExecDestroy, CUgraphExec executable) {
  const std::lock_guard lock(mutex);
  Work* work = reinterpret_cast<Work*>(executable);
  if (executables.erase(work) == 0) return CUDA_ERROR_INVALID_VALUE;
  delete work;
  return CUDA_SUCCESS;
}
FAKE(cuEventCreate, CUevent* event, unsigned) {
  some(*event);
  return result();
}
FAKE(cuEventDestroy, CUevent) { return CUDA_SUCCESS; }
FAKE(cuEventRecord, CUevent, CUstream) { return result(); }
FAKE(cuEventSynchronize, CUevent) { return result(); }
// NVRTC asks a driver for it
FAKE(cuGetExportTable, const void**, const CUuuid*) { return CUDA_ERROR_NOT_FOUND; }
#undef cuEventElapsedTime
extern "C" FAKE(cuEventElapsedTime, float* milliseconds, CUevent, CUevent) {
  *milliseconds = 2;
  return result();
}
