// SPDX-License-Identifier: Apache-2.0
// Loading the driver, and what may be wrong with a machine.
#include "runtime/driver.h"

#include <cstdlib>
#include <mutex>

#include "runtime/device.h"
#include "runtime/shared_library.h"
#include "softmpc/error.h"

namespace softmpc::cuda {
namespace {

#define SOFTMPC_QUOTE(name) #name
#define SOFTMPC_SYMBOL(name) SOFTMPC_QUOTE(name)

Driver load_driver() {
  void* library = open_shared("libcuda.so.1");
  if (library == nullptr) {
    throw Error(std::string("no CUDA driver (") + dlerror() +
                "): install NVIDIA's driver, 525 or later");
  }
  Driver d;
  // the version first: a driver that is too old lacks functions, and should be called too old
  resolve(library, "cuDriverGetVersion", d.cuDriverGetVersion, "the CUDA driver");
  d.cuDriverGetVersion(&d.version);
  if (d.version > 0 && d.version < kLeastDriver) {
    throw Error("the CUDA driver supports CUDA " + version_text(d.version) + ", at least " +
                version_text(kLeastDriver) + " is needed: update NVIDIA's driver to 525 or later");
  }
#define SOFTMPC_RESOLVE(name) resolve(library, SOFTMPC_SYMBOL(name), d.name, "the CUDA driver");
  SOFTMPC_DRIVER_FUNCTIONS(SOFTMPC_RESOLVE)
#undef SOFTMPC_RESOLVE
  resolve(library, "cuEventElapsedTime", d.elapsed_time, "the CUDA driver");
  return d;
}

const Driver& loaded_driver() {
  static std::mutex mutex;
  static Driver loaded;
  static bool ready = false;
  const std::lock_guard lock(mutex);
  if (!ready) {
    loaded = load_driver();
    ready = true;
  }
  return loaded;
}

[[noreturn]] void no_device() {
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  throw Error(
      std::string("no CUDA device: the driver finds none") +
      (visible == nullptr ? "" : std::string("; CUDA_VISIBLE_DEVICES is '") + visible + "'"));
}

}  // namespace

const Driver& driver() {
  const Driver& d = loaded_driver();
  const CUresult result = d.cuInit(0);
  if (result == CUDA_ERROR_NO_DEVICE) no_device();
  if (result != CUDA_SUCCESS) throw Error("the CUDA driver does not start: " + describe(result));
  return d;
}

CUdevice first_device() {
  const Driver& d = driver();
  int count = 0;
  if (d.cuDeviceGetCount(&count) != CUDA_SUCCESS || count == 0) no_device();
  CUdevice device = 0;
  if (const CUresult result = d.cuDeviceGet(&device, 0); result != CUDA_SUCCESS)
    throw Error("the first CUDA device: " + describe(result));
  const int major = attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
  const int minor = attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  if (10 * major + minor < kLeastCapability) {
    char name[256] = "";
    d.cuDeviceGetName(name, sizeof name, device);
    throw Error(std::string("the first CUDA device, ") + name + ", has compute capability " +
                std::to_string(major) + "." + std::to_string(minor) + ", at least " +
                std::to_string(kLeastCapability / 10) + "." +
                std::to_string(kLeastCapability % 10) + " is needed");
  }
  return device;
}

std::string describe(CUresult result) {
  const Driver& d = loaded_driver();
  const char *name = nullptr, *text = nullptr;
  if (d.cuGetErrorName(result, &name) != CUDA_SUCCESS || name == nullptr)
    return "error " + std::to_string(static_cast<int>(result)) + " of the CUDA driver";
  d.cuGetErrorString(result, &text);
  return std::string(name) + (text == nullptr ? "" : std::string(" (") + text + ")");
}

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

int attribute(CUdevice device, CUdevice_attribute which) {
  int value = 0;
  const CUresult result = driver().cuDeviceGetAttribute(&value, which, device);
  if (result != CUDA_SUCCESS) {
    throw Error("attribute " + std::to_string(static_cast<int>(which)) +
                " of the CUDA device: " + describe(result));
  }
  return value;
}

std::string unavailable() {
  try {
    first_device();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace softmpc::cuda
