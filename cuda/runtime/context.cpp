// SPDX-License-Identifier: Apache-2.0
// Which errors end a context, and the context itself.
#include "runtime/context.h"

#include "softmpc/cuda.h"

namespace softmpc::cuda {
namespace {

// After these every call fails until the context is gone.
bool is_fault(CUresult result) {
  switch (result) {
    case CUDA_ERROR_ECC_UNCORRECTABLE:
    case CUDA_ERROR_NVLINK_UNCORRECTABLE:
    case CUDA_ERROR_ILLEGAL_ADDRESS:
    case CUDA_ERROR_LAUNCH_TIMEOUT:
    case CUDA_ERROR_CONTEXT_IS_DESTROYED:
    case CUDA_ERROR_ASSERT:
    case CUDA_ERROR_HARDWARE_STACK_ERROR:
    case CUDA_ERROR_ILLEGAL_INSTRUCTION:
    case CUDA_ERROR_MISALIGNED_ADDRESS:
    case CUDA_ERROR_INVALID_ADDRESS_SPACE:
    case CUDA_ERROR_INVALID_PC:
    case CUDA_ERROR_LAUNCH_FAILED:
    case CUDA_ERROR_EXTERNAL_DEVICE:
    case CUDA_ERROR_UNKNOWN:
      return true;
    default:
      return false;
  }
}

DeviceFacts read_facts(const Driver& d, CUdevice device) {
  DeviceFacts facts;
  char name[256] = "";
  d.cuDeviceGetName(name, sizeof name, device);
  facts.name = name;
  facts.capability = 10 * attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) +
                     attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  facts.processors = attribute(device, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
  facts.shared_per_block = attribute(device, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
  facts.clusters = attribute(device, CU_DEVICE_ATTRIBUTE_CLUSTER_LAUNCH) != 0;
  d.cuDeviceTotalMem(&facts.memory, device);
  return facts;
}

}  // namespace

Context::Context()
    : driver_(cuda::driver()), device_(first_device()), facts_(read_facts(driver_, device_)) {
  try {
    open();
  } catch (const Error&) {
    if (!broken_) throw;
    // An earlier fault has left this context unusable for all of the process: nothing is lost by
    // destroying it. Whoever still holds it may release it as before.
    driver_.cuDevicePrimaryCtxReset(device_);
    broken_ = false;
    open();
  }
}

void Context::open() {
  check(driver_.cuDevicePrimaryCtxRetain(&context_, device_), "opening the device " + facts_.name);
  try {
    const Current current(*this);
    check(driver_.cuCtxSynchronize(), "opening the device " + facts_.name);  // tells of a fault
  } catch (...) {
    driver_.cuDevicePrimaryCtxRelease(device_);
    throw;
  }
}

Context::~Context() { driver_.cuDevicePrimaryCtxRelease(device_); }

void Context::check(CUresult result, const std::string& doing) const {
  if (result == CUDA_SUCCESS) return;
  if (!is_fault(result)) throw Error(doing + ": " + describe(result));
  broken_ = true;
  throw DeviceLost(doing + ": " + describe(result) +
                   ": all on the device is lost, create what used it again");
}

Context::Current::Current(const Context& context) : context_(context) {
  if (context.broken_) {
    throw DeviceLost("the device was lost by an earlier fault: open it again");
  }
  context.check(context.driver_.cuCtxPushCurrent(context.context_), "entering the context");
  pushed_ = true;
}

Context::Current::~Current() {
  CUcontext left = nullptr;
  if (pushed_) context_.driver_.cuCtxPopCurrent(&left);
}

Stream::Stream(SharedContext context) : context_(std::move(context)) {
  const Context::Current current(*context_);
  const Driver& d = context_->driver();
  int least = 0, greatest = 0;  // before what else runs on the device: a plan is waited for
  context_->check(d.cuCtxGetStreamPriorityRange(&least, &greatest), "asking for priorities");
  context_->check(d.cuStreamCreateWithPriority(&stream_, CU_STREAM_NON_BLOCKING, greatest),
                  "creating a stream");
}

Stream::~Stream() {
  clean_up(*context_, [this](const Driver& d) { d.cuStreamDestroy(stream_); });
}

}  // namespace softmpc::cuda
