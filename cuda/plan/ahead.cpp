// SPDX-License-Identifier: Apache-2.0
// Compiling ahead: a planner is made on a device that is not there and notes what it would load,
// so that what is compiled is what dispatch chooses, whatever that learns to choose.
#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <vector>

#include "runtime/compiler.h"
#include "runtime/device.h"
#include "runtime/kernel_file.h"
#include "runtime/kernel_text.h"
#include "softmpc/cuda.h"
#include "softmpc/error.h"

namespace softmpc::cuda {
namespace {

struct Family {
  int capability;
  int shared_per_block;  // KiB; CUDA C++ Programming Guide, technical specifications
};
constexpr Family kFamilies[] = {{80, 163},  {86, 99},   {87, 163},  {89, 99},  {90, 227},
                                {100, 227}, {103, 227}, {110, 227}, {120, 99}, {121, 99}};

/// Of a device of this capability. Throws UsageError for one that is not known.
DeviceFacts facts_of(int capability, int processors) {
  const auto* family = std::ranges::find(kFamilies, capability, &Family::capability);
  if (family == std::end(kFamilies)) {
    std::string known;
    for (const Family& f : kFamilies)
      known += (known.empty() ? "sm_" : ", sm_") + std::to_string(f.capability);
    throw UsageError("architecture: sm_" + std::to_string(capability) + " is not one of " + known);
  }
  return {.name = "sm_" + std::to_string(capability),
          .capability = capability,
          .processors = processors,
          .shared_per_block = family->shared_per_block * 1024,
          .memory = std::size_t{80} << 30,
          .clusters = capability >= 90};
}

class HostBytes final : public Memory {
 public:
  explicit HostBytes(std::size_t bytes) : bytes_(bytes) {
    data_ = bytes_.data();
    size_ = bytes;
  }

 private:
  std::vector<std::byte> bytes_;
};

class NotedKernel final : public Kernel {
 public:
  KernelFacts facts() const override { return {}; }
};

/// Has no processors: copies are made, kernels are noted and never run.
class NotingDevice final : public Device {
 public:
  NotingDevice(DeviceFacts facts, std::map<std::string, std::string>& texts)
      : facts_(std::move(facts)), texts_(texts) {}

  const DeviceFacts& facts() const override { return facts_; }
  std::unique_ptr<Memory> allocate(std::size_t bytes) override {
    return std::make_unique<HostBytes>(bytes);
  }
  std::unique_ptr<Memory> allocate_host(std::size_t bytes) override { return allocate(bytes); }
  std::shared_ptr<Kernel> load(const KernelSource& source) override {
    texts_.emplace(kernel_text(source), source.call);
    return std::make_shared<NotedKernel>();
  }
  // none: what is taken where clusters would wait is noted, too
  int clusters_at_a_time(const Kernel&, const LaunchShape&) override { return 0; }
  void upload(void* to, const void* from, std::size_t bytes) override { copy(to, from, bytes); }
  void download(void* to, const void* from, std::size_t bytes) override { copy(to, from, bytes); }
  void launch(const Kernel&, const LaunchShape&, const void*, std::size_t) override {}
  std::unique_ptr<Graph> record(const std::function<void()>& work) override {
    work();
    return std::make_unique<Graph>();
  }
  void replay(const Graph&) override {}
  void synchronise() override {}
  double time(const std::function<void()>& work) override {
    work();
    return 0;
  }

 private:
  static void copy(void* to, const void* from, std::size_t bytes) {
    if (bytes > 0) std::memcpy(to, from, bytes);
  }

  DeviceFacts facts_;
  std::map<std::string, std::string>& texts_;  // and what they are called
};

// Processors of devices: from the smallest Jetson's to past the largest. Dispatch chooses a kernel
// over ranges of them of which each holds a multiple of four.
constexpr int kFewestProcessors = 4, kMostProcessors = 256;

}  // namespace

CompiledKernels compile_kernels(const std::string& path, std::span<const int> capabilities,
                                const std::function<void(const DeviceOptions&)>& make) {
  if (capabilities.empty()) throw UsageError("architecture: none is given, at least one is needed");
  CompiledKernels done;
  KernelFile file;
  for (const int capability : std::set<int>(capabilities.begin(), capabilities.end())) {
    std::map<std::string, std::string> texts;
    for (int processors = kFewestProcessors; processors <= kMostProcessors; processors += 4) {
      DeviceOptions on;
      on.device = std::make_shared<NotingDevice>(facts_of(capability, processors), texts);
      make(on);
    }
    if (texts.empty()) throw Error("compile_kernels: nothing was made on the device it was given");
    const Compiler compiler;
    const std::string architecture = compiler.architecture(capability);
    if (architecture != architecture_name(capability))
      throw Error("NVRTC of CUDA " + std::to_string(compiler.version() / 1000) + "." +
                  std::to_string(compiler.version() % 1000 / 10) + " does not know " +
                  architecture_name(capability) + "; a newer one is needed");
    for (const auto& [text, call] : texts) {
      const std::string cubin = compiler.compile(text, call, compile_options(architecture));
      file.add(text, capability, cubin);
      ++done.kernels;
      done.bytes += cubin.size();
    }
  }
  file.write(path);
  return done;
}

}  // namespace softmpc::cuda
