// SPDX-License-Identifier: Apache-2.0
// What the CUDA room needs of a machine: memory, kernels, one stream, recorded work. Implemented by
// the driver (driver_device.cpp) and by the tests' emulator, which runs the same kernels on a CPU.
// Every call that fails throws Error naming what failed, the value and the limit; the device stays
// usable unless the error says otherwise.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/constants.h"
#include "softmpc/model.h"

namespace softmpc::cuda {

struct DeviceFacts {
  std::string name;
  int capability = 0;        ///< 80, 90, ...
  int processors = 0;        ///< SMs
  int shared_per_block = 0;  ///< bytes a block may ask for
  std::size_t memory = 0;    ///< bytes
  bool clusters = false;
  bool runs_host_rules = false;  ///< the emulator: calls the models themselves
};

/// One kernel, specialised. `call` is the C++ expression of its body, which takes the job:
///   "rollout_tile<Sizes, Rules, 64, Number::f16>" from "rollout_tile.cuh", job "RolloutJob".
struct KernelSource {
  std::string call, header, job;
  KernelConstants constants = {};
  DeviceRules rules = {};                   ///< type "" where the kernel has none
  DeviceRules dynamics = {}, value = {};    ///< of analytic models: `Dynamics` and `Value`
  const RewardModel* host_rules = nullptr;  ///< the same rules, for the emulator; borrowed
  const DynamicsModel* host_dynamics = nullptr;
  const TerminalValue* host_value = nullptr;
  int threads = 256;             ///< a block
  int cluster = 1;               ///< blocks
  int blocks_per_processor = 1;  ///< at least so many are to fit: bounds registers
};

/// Where a kernel's binary came from.
enum class Origin { library, file, cache, compiler };

/// What the compiler made of a kernel.
struct KernelFacts {
  int registers = 0, spilled_bytes = 0, static_shared = 0;
  Origin origin = Origin::library;
  std::string not_kept;  ///< why the cache did not take what was compiled; empty if it did
  double seconds = 0;    ///< compiling and loading
};

class Kernel {
 public:
  virtual ~Kernel() = default;
  virtual KernelFacts facts() const = 0;
};

struct LaunchShape {
  int blocks = 1, threads = 256, cluster = 1, shared_bytes = 0;
};

/// Device memory, freed with the object.
class Memory {
 public:
  virtual ~Memory() = default;
  void* data() const { return data_; }
  std::size_t size() const { return size_; }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 protected:
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

/// Work recorded once and replayed by one call.
class Graph {
 public:
  virtual ~Graph() = default;
};

class Device {
 public:
  virtual ~Device() = default;
  virtual const DeviceFacts& facts() const = 0;

  /// Zeroed device memory.
  virtual std::unique_ptr<Memory> allocate(std::size_t bytes) = 0;
  /// Zeroed host memory that copies read and write without staging.
  virtual std::unique_ptr<Memory> allocate_host(std::size_t bytes) = 0;
  virtual std::shared_ptr<Kernel> load(const KernelSource& source) = 0;
  /// How many clusters of such a launch run at a time; shape.blocks is not read.
  virtual int clusters_at_a_time(const Kernel& kernel, const LaunchShape& shape) = 0;

  // In order on the device's one stream, without waiting.
  virtual void upload(void* to, const void* from_host, std::size_t bytes) = 0;
  virtual void download(void* to_host, const void* from, std::size_t bytes) = 0;
  virtual void launch(const Kernel& kernel, const LaunchShape& shape, const void* job,
                      std::size_t job_bytes) = 0;
  template <class Job>
  void launch(const Kernel& kernel, const LaunchShape& shape, const Job& job) {
    launch(kernel, shape, &job, sizeof job);
  }

  /// Records what `work` does on the stream; jobs are copied, host memory is read at each replay.
  virtual std::unique_ptr<Graph> record(const std::function<void()>& work) = 0;
  virtual void replay(const Graph& graph) = 0;
  /// Waits for all of it. Throws Error if a kernel failed.
  virtual void synchronise() = 0;
  /// Seconds that the device spent on `work`, by its own clock; waits.
  virtual double time(const std::function<void()>& work) = 0;
};

/// Why there is no CUDA here, in one sentence that says what would help; empty if there is.
std::string unavailable();
/// The first device, with a stream of its own. Throws Error with the sentence of unavailable().
std::shared_ptr<Device> open_device();

}  // namespace softmpc::cuda
