// SPDX-License-Identifier: Apache-2.0
// Device by the CUDA driver.
#include <chrono>
#include <cstring>
#include <mutex>

#include "runtime/context.h"
#include "runtime/cubin.h"
#include "runtime/kernel_binary.h"
#include "runtime/kernel_text.h"
#include "softmpc/error.h"

namespace softmpc::cuda {
namespace {

CUdeviceptr address(const void* pointer) { return reinterpret_cast<CUdeviceptr>(pointer); }

std::string bytes_text(std::size_t bytes) { return std::to_string(bytes) + " bytes"; }

class DeviceMemory final : public Memory {
 public:
  DeviceMemory(const Stream& stream, std::size_t bytes) : context_(stream.context()) {
    if (bytes == 0) return;
    const Context::Current current(*context_);
    const Driver& d = context_->driver();
    CUdeviceptr pointer = 0;
    const CUresult result = d.cuMemAlloc(&pointer, bytes);
    if (result == CUDA_ERROR_OUT_OF_MEMORY) {
      std::size_t free = 0, total = 0;
      d.cuMemGetInfo(&free, &total);
      throw Error("out of device memory: " + bytes_text(bytes) + " asked for, " +
                  std::to_string(free) + " of " + std::to_string(total) + " are free");
    }
    context_->check(result, "allocating " + bytes_text(bytes) + " of device memory");
    data_ = reinterpret_cast<void*>(pointer);
    size_ = bytes;
    context_->check(d.cuMemsetD8Async(pointer, 0, bytes, stream.get()),
                    "zeroing " + bytes_text(bytes) + " of device memory");
  }
  ~DeviceMemory() override {
    if (data_ != nullptr)
      clean_up(*context_, [this](const Driver& d) { d.cuMemFree(address(data_)); });
  }

 private:
  SharedContext context_;
};

class HostMemory final : public Memory {
 public:
  HostMemory(SharedContext context, std::size_t bytes) : context_(std::move(context)) {
    if (bytes == 0) return;
    const Context::Current current(*context_);
    context_->check(context_->driver().cuMemHostAlloc(&data_, bytes, CU_MEMHOSTALLOC_PORTABLE),
                    "allocating " + bytes_text(bytes) + " of pinned host memory");
    size_ = bytes;
    std::memset(data_, 0, bytes);
  }
  ~HostMemory() override {
    if (data_ != nullptr) clean_up(*context_, [this](const Driver& d) { d.cuMemFreeHost(data_); });
  }

 private:
  SharedContext context_;
};

class DriverKernel final : public Kernel {
 public:
  DriverKernel(SharedContext context, const KernelSource& source)
      : context_(std::move(context)), name_(source.call), threads_(source.threads) {
    const auto start = std::chrono::steady_clock::now();
    const DeviceFacts& device = context_->facts();
    const int version = context_->driver().version;
    KernelBinary binary = kernel_binary(source, device.capability, version, cache_);
    const bool ahead = binary.origin == Origin::library || binary.origin == Origin::file;
    if (!load(binary.cubin) && ahead) {
      // made by a compiler that is newer than the driver
      binary = kernel_binary(source, device.capability, version, cache_, false);
      load(binary.cubin);
    }
    if (module_ == nullptr) {
      throw Error("the driver (CUDA " + version_text(version) + ") refuses the cubin of " + name_ +
                  ": " + describe(refused_) + "; an NVRTC of CUDA " +
                  std::to_string(version / 1000) + " or an update of the driver helps");
    }
    const CubinFacts made = read_cubin(binary.cubin, kKernelName);
    job_bytes_ = static_cast<std::size_t>(made.parameter_bytes);
    facts_ = {.registers = made.registers,
              .spilled_bytes = made.frame_bytes,
              .static_shared = made.static_shared,
              .origin = binary.origin,
              .not_kept = binary.not_kept};
    allow_large_clusters(source.cluster);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    facts_.seconds = seconds.count();
  }
  ~DriverKernel() override {
    if (module_ != nullptr)
      clean_up(*context_, [this](const Driver& d) { d.cuModuleUnload(module_); });
  }

  KernelFacts facts() const override { return facts_; }

  int clusters_at_a_time(const Context& context, LaunchShape shape) const {
    shape.blocks = shape.cluster;
    check_launch(context, shape, job_bytes_);
    allow_shared(shape.shared_bytes);
    CUlaunchAttribute cluster = {};
    const CUlaunchConfig config = launch_config(shape, cluster);
    int count = 0;
    context.check(context.driver().cuOccupancyMaxActiveClusters(&count, function_, &config),
                  "asking how many clusters of " + name_ + " run at a time");
    return count;
  }

  void launch(const Stream& stream, const LaunchShape& shape, const void* job,
              std::size_t job_bytes) const {
    const Context& context = *stream.context();
    check_launch(context, shape, job_bytes);
    allow_shared(shape.shared_bytes);
    CUlaunchAttribute cluster = {};
    CUlaunchConfig config = launch_config(shape, cluster);
    config.hStream = stream.get();
    void* parameters[] = {const_cast<void*>(job)};
    const CUresult result =
        context.driver().cuLaunchKernelEx(&config, function_, parameters, nullptr);
    if (result != CUDA_SUCCESS) context.check(result, "launching " + name_ + shape_text(shape));
  }

 private:
  // `cluster` belongs to what is returned.
  static CUlaunchConfig launch_config(const LaunchShape& shape, CUlaunchAttribute& cluster) {
    cluster.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
    cluster.value.clusterDim.x = static_cast<unsigned>(shape.cluster);
    cluster.value.clusterDim.y = cluster.value.clusterDim.z = 1;
    CUlaunchConfig config = {};
    config.gridDimX = static_cast<unsigned>(shape.blocks);
    config.gridDimY = config.gridDimZ = 1;
    config.blockDimX = static_cast<unsigned>(shape.threads);
    config.blockDimY = config.blockDimZ = 1;
    config.sharedMemBytes = static_cast<unsigned>(shape.shared_bytes);
    config.attrs = &cluster;
    config.numAttrs = shape.cluster > 1 ? 1 : 0;
    return config;
  }

  // False if the driver does not take such a cubin.
  bool load(const std::string& cubin) {
    const Context::Current current(*context_);
    const Driver& d = context_->driver();
    const CUresult result = d.cuModuleLoadData(&module_, cubin.data());
    if (result == CUDA_ERROR_INVALID_IMAGE || result == CUDA_ERROR_NO_BINARY_FOR_GPU ||
        result == CUDA_ERROR_INVALID_SOURCE || result == CUDA_ERROR_UNSUPPORTED_PTX_VERSION) {
      module_ = nullptr;
      refused_ = result;
      return false;
    }
    context_->check(result, "loading " + name_);
    context_->check(d.cuModuleGetFunction(&function_, module_, kKernelName), "finding " + name_);
    return true;
  }

  void allow_large_clusters(int cluster) {
    if (cluster <= 8) return;
    const Context::Current current(*context_);
    context_->check(context_->driver().cuFuncSetAttribute(
                        function_, CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1),
                    "allowing " + name_ + " clusters of " + std::to_string(cluster) + " blocks");
  }

  void allow_shared(int bytes) const {
    if (bytes <= shared_allowed_) return;
    const int limit = context_->facts().shared_per_block;
    if (bytes + facts_.static_shared > limit) {
      throw Error(name_ + " needs " + bytes_text(static_cast<std::size_t>(bytes)) +
                  " of shared memory a block, the device has " + std::to_string(limit));
    }
    context_->check(context_->driver().cuFuncSetAttribute(
                        function_, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, bytes),
                    "giving " + name_ + " " + bytes_text(static_cast<std::size_t>(bytes)) +
                        " of shared memory");
    shared_allowed_ = bytes;
  }

  void check_launch(const Context& context, const LaunchShape& shape, std::size_t bytes) const {
    if (&context != context_.get())
      throw Error(name_ + ": was loaded on another device, or before a fault");
    if (bytes != job_bytes_) {
      throw Error(name_ + ": the job has " + bytes_text(bytes) + ", the kernel's has " +
                  std::to_string(job_bytes_));
    }
    if (shape.threads > threads_ || shape.blocks < 1 || shape.blocks % shape.cluster != 0) {
      throw Error(name_ + ": cannot run" + shape_text(shape) + ": at most " +
                  std::to_string(threads_) + " threads, and whole clusters");
    }
  }

  static std::string shape_text(const LaunchShape& s) {
    return " in " + std::to_string(s.blocks) + " blocks of " + std::to_string(s.threads) +
           " threads, clusters of " + std::to_string(s.cluster) + ", " +
           bytes_text(static_cast<std::size_t>(s.shared_bytes)) + " of shared memory";
  }

  static constexpr int kSharedWithoutAsking = 48 << 10;

  SharedContext context_;
  CubinCache cache_;
  std::string name_;
  int threads_;
  CUmodule module_ = nullptr;
  CUfunction function_ = nullptr;
  CUresult refused_ = CUDA_SUCCESS;
  std::size_t job_bytes_ = 0;
  KernelFacts facts_;
  mutable int shared_allowed_ = kSharedWithoutAsking;
};

class DriverGraph final : public Graph {
 public:
  // Takes the graph.
  DriverGraph(const Stream& stream, CUgraph graph) : context_(stream.context()) {
    const Driver& d = context_->driver();
    const CUresult result = d.cuGraphInstantiate(&executable_, graph, 0);
    d.cuGraphDestroy(graph);
    context_->check(result, "preparing recorded work");
    // what the first replay would have to do
    context_->check(d.cuGraphUpload(executable_, stream.get()), "uploading recorded work");
  }
  ~DriverGraph() override {
    if (executable_ != nullptr)
      clean_up(*context_, [this](const Driver& d) { d.cuGraphExecDestroy(executable_); });
  }

  void replay(const Stream& stream) const {
    const Context& context = *stream.context();
    if (&context != context_.get())
      throw Error("replaying: recorded on another device, or before a fault");
    const CUresult result = context.driver().cuGraphLaunch(executable_, stream.get());
    if (result != CUDA_SUCCESS) context.check(result, "replaying recorded work");
  }

 private:
  SharedContext context_;
  CUgraphExec executable_ = nullptr;
};

class Event {
 public:
  explicit Event(const Stream& stream) : stream_(stream), context_(*stream.context()) {
    context_.check(context_.driver().cuEventCreate(&event_, CU_EVENT_DEFAULT), "creating an event");
  }
  ~Event() {
    if (!context_.broken()) context_.driver().cuEventDestroy(event_);
  }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void record() const {
    context_.check(context_.driver().cuEventRecord(event_, stream_.get()), "recording an event");
  }
  void wait() const {
    context_.check(context_.driver().cuEventSynchronize(event_), "waiting for the device");
  }
  double seconds_since(const Event& start) const {
    float milliseconds = 0;
    context_.check(context_.driver().elapsed_time(&milliseconds, start.event_, event_),
                   "reading the device's clock");
    return 1e-3 * static_cast<double>(milliseconds);
  }

 private:
  const Stream& stream_;
  const Context& context_;
  CUevent event_ = nullptr;
};

class DriverDevice final : public Device {
 public:
  explicit DriverDevice(SharedContext context) : stream_(context), context_(std::move(context)) {}

  const DeviceFacts& facts() const override { return context_->facts(); }

  std::unique_ptr<Memory> allocate(std::size_t bytes) override {
    return std::make_unique<DeviceMemory>(stream_, bytes);
  }
  std::unique_ptr<Memory> allocate_host(std::size_t bytes) override {
    return std::make_unique<HostMemory>(context_, bytes);
  }
  std::shared_ptr<Kernel> load(const KernelSource& source) override {
    return std::make_shared<DriverKernel>(context_, source);
  }
  int clusters_at_a_time(const Kernel& kernel, const LaunchShape& shape) override {
    const Context::Current current(*context_);
    return static_cast<const DriverKernel&>(kernel).clusters_at_a_time(*context_, shape);
  }

  void upload(void* to, const void* from_host, std::size_t bytes) override {
    if (bytes == 0) return;
    const Context::Current current(*context_);
    finish_copy(driver().cuMemcpyHtoDAsync(address(to), from_host, bytes, stream_.get()), bytes,
                " to the device");
  }
  void download(void* to_host, const void* from, std::size_t bytes) override {
    if (bytes == 0) return;
    const Context::Current current(*context_);
    finish_copy(driver().cuMemcpyDtoHAsync(to_host, address(from), bytes, stream_.get()), bytes,
                " from the device");
  }
  void launch(const Kernel& kernel, const LaunchShape& shape, const void* job,
              std::size_t job_bytes) override {
    const Context::Current current(*context_);
    static_cast<const DriverKernel&>(kernel).launch(stream_, shape, job, job_bytes);
  }

  std::unique_ptr<Graph> record(const std::function<void()>& work) override {
    const Context::Current current(*context_);
    context_->check(
        driver().cuStreamBeginCapture(stream_.get(), CU_STREAM_CAPTURE_MODE_THREAD_LOCAL),
        "starting to record");
    CUgraph graph = nullptr;
    try {
      work();
    } catch (...) {
      // the stream must not stay in recording
      driver().cuStreamEndCapture(stream_.get(), &graph);
      if (graph != nullptr) driver().cuGraphDestroy(graph);
      throw;
    }
    context_->check(driver().cuStreamEndCapture(stream_.get(), &graph), "recording");
    return std::make_unique<DriverGraph>(stream_, graph);
  }
  void replay(const Graph& graph) override {
    const Context::Current current(*context_);
    static_cast<const DriverGraph&>(graph).replay(stream_);
  }

  void synchronise() override {
    const Context::Current current(*context_);
    const CUresult result = driver().cuStreamSynchronize(stream_.get());
    if (result != CUDA_SUCCESS) context_->check(result, "waiting for the device");
  }
  double time(const std::function<void()>& work) override {
    const Context::Current current(*context_);
    const Event start(stream_), end(stream_);
    start.record();
    work();
    end.record();
    end.wait();
    return end.seconds_since(start);
  }

 private:
  const Driver& driver() const { return context_->driver(); }
  void finish_copy(CUresult result, std::size_t bytes, const char* where) const {
    if (result != CUDA_SUCCESS) context_->check(result, "copying " + bytes_text(bytes) + where);
  }

  Stream stream_;
  SharedContext context_;
};

}  // namespace

std::shared_ptr<Device> open_device() {
  static std::mutex mutex;
  static std::weak_ptr<const Context> shared;
  const std::lock_guard lock(mutex);
  SharedContext context = shared.lock();
  if (!context || context->broken()) {
    context = std::make_shared<const Context>();
    shared = context;
  }
  return std::make_shared<DriverDevice>(std::move(context));
}

}  // namespace softmpc::cuda
