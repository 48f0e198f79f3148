// SPDX-License-Identifier: Apache-2.0
// The library is opened by name, so that a program that links this one starts without it.
#include "runtime/compiler.h"

#include <dlfcn.h>
#include <nvrtc.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>

#include "runtime/kernel_text.h"
#include "runtime/nvrtc_places.h"
#include "runtime/shared_library.h"
#include "softmpc/error.h"

namespace softmpc::cuda {

// X(function): what is used of NVRTC
#define SOFTMPC_NVRTC_FUNCTIONS(X) \
  X(nvrtcVersion)                  \
  X(nvrtcGetErrorString)           \
  X(nvrtcGetNumSupportedArchs)     \
  X(nvrtcGetSupportedArchs)        \
  X(nvrtcCreateProgram)            \
  X(nvrtcDestroyProgram)           \
  X(nvrtcCompileProgram)           \
  X(nvrtcGetProgramLogSize)        \
  X(nvrtcGetProgramLog)            \
  X(nvrtcGetCUBINSize)             \
  X(nvrtcGetCUBIN)

struct Compiler::Library {
#define SOFTMPC_FIELD(name) decltype(&::name) name = nullptr;
  SOFTMPC_NVRTC_FUNCTIONS(SOFTMPC_FIELD)
#undef SOFTMPC_FIELD
  int number = 0;  // as CUDA_VERSION

  void check(nvrtcResult result, std::string_view what) const {
    if (result == NVRTC_SUCCESS) return;
    throw Error("NVRTC: " + std::string(what) + ": " + nvrtcGetErrorString(result));
  }
};

namespace {

constexpr int kNewestMajor = 13, kOldestMajor = 12;  // C++20 and sm_90a are known from 12 on

void* open_library(int driver) {
  if (const char* path = std::getenv("SOFTMPC_NVRTC"); path != nullptr && *path != 0) {
    if (void* handle = open_shared(path)) return handle;
    throw Error(std::string("SOFTMPC_NVRTC: cannot load '") + path + "': " + dlerror());
  }
  const int newest = driver > 0 ? driver / 1000 : kNewestMajor;
  std::string names;
  for (int major = newest; major >= kOldestMajor; --major) {
    const std::string name = "libnvrtc.so." + std::to_string(major);
    for (const std::string& path : nvrtc_places(major))
      if (void* handle = open_shared(path)) return handle;
    names += (names.empty() ? "" : ", ") + name;
  }
  throw Error(
      "this kernel is not among those that were compiled with the library, and NVRTC, which "
      "compiles the others, is not found (" +
      names +
      "): install it (a part of the CUDA toolkit, or Python's package nvidia-cuda-nvrtc), set "
      "CUDA_HOME, or name the file in SOFTMPC_NVRTC");
}

// The first errors of a log, on one line.
std::string first_errors(const std::string& log) {
  std::string text;
  int found = 0;
  for (std::size_t at = 0; at < log.size() && found < 3;) {
    const std::size_t end = std::min(log.find('\n', at), log.size());
    const std::string line = log.substr(at, end - at);
    at = end + 1;
    if (line.find("error:") == std::string::npos) continue;
    text += (found++ > 0 ? "; " : "") + line;
  }
  return text.empty() ? log : text;
}

}  // namespace

std::vector<std::string> compile_options(const std::string& architecture) {
  // rules and helpers without SOFTMPC_HD are a device's, too
  return {"--std=c++20", "--device-as-default-execution-space",
          "--gpu-architecture=" + architecture};
}

Compiler::Compiler(int driver) {
  static std::mutex mutex;
  static std::shared_ptr<const Library> loaded;  // one for the process
  static int loaded_for = -1;
  const std::lock_guard lock(mutex);
  if (!loaded || loaded_for != driver) {
    void* handle = open_library(driver);
    auto library = std::make_shared<Library>();
#define SOFTMPC_RESOLVE(name) resolve(handle, #name, library->name, "NVRTC");
    SOFTMPC_NVRTC_FUNCTIONS(SOFTMPC_RESOLVE)
#undef SOFTMPC_RESOLVE
    int major = 0, minor = 0;
    library->check(library->nvrtcVersion(&major, &minor), "asking for the version");
    library->number = 1000 * major + 10 * minor;
    loaded = library;
    loaded_for = driver;
  }
  library_ = loaded;
}

int Compiler::version() const { return library_->number; }

std::string Compiler::architecture(int capability) const {
  int count = 0;
  library_->check(library_->nvrtcGetNumSupportedArchs(&count), "asking for the architectures");
  std::vector<int> known(static_cast<std::size_t>(count));
  library_->check(library_->nvrtcGetSupportedArchs(known.data()), "asking for the architectures");
  int best = 0;
  for (int a : known)
    if (a <= capability && a / 10 == capability / 10) best = std::max(best, a);
  if (best > 0) return architecture_name(best);
  throw Error(
      "NVRTC " + std::to_string(version() / 1000) + "." + std::to_string(version() / 10 % 100) +
      " knows no architecture of a device of capability " + std::to_string(capability / 10) + "." +
      std::to_string(capability % 10) + ": a newer CUDA toolkit is needed");
}

std::string Compiler::compile(const std::string& text, std::string_view what,
                              const std::vector<std::string>& options, std::string* log) const {
  const Library& nvrtc = *library_;
  nvrtcProgram program = nullptr;
  nvrtc.check(nvrtc.nvrtcCreateProgram(&program, text.c_str(), "kernel.cu", 0, nullptr, nullptr),
              "creating a program");
  const auto destroy = [&](void*) { nvrtc.nvrtcDestroyProgram(&program); };
  const std::unique_ptr<void, decltype(destroy)> owner(&program, destroy);

  std::vector<const char*> arguments;
  arguments.reserve(options.size());
  for (const std::string& option : options) arguments.push_back(option.c_str());
  const nvrtcResult result =
      nvrtc.nvrtcCompileProgram(program, static_cast<int>(arguments.size()), arguments.data());
  std::size_t size = 0;
  nvrtc.check(nvrtc.nvrtcGetProgramLogSize(program, &size), "reading the log");
  std::string said(size, '\0');
  nvrtc.check(nvrtc.nvrtcGetProgramLog(program, said.data()), "reading the log");
  while (!said.empty() && (said.back() == '\0' || said.back() == '\n')) said.pop_back();
  if (log != nullptr) *log = said;
  if (result != NVRTC_SUCCESS) {
    throw Error("cannot compile " + std::string(what) + ": " +
                (result == NVRTC_ERROR_COMPILATION
                     ? first_errors(said)
                     : nvrtc.nvrtcGetErrorString(result) + (" " + said)));
  }
  nvrtc.check(nvrtc.nvrtcGetCUBINSize(program, &size), "reading the cubin");
  std::string cubin(size, '\0');
  nvrtc.check(nvrtc.nvrtcGetCUBIN(program, cubin.data()), "reading the cubin");
  return cubin;
}

}  // namespace softmpc::cuda
