// SPDX-License-Identifier: Apache-2.0
// What is particular to planning on a CUDA device (planner.h, Device::cuda): rollouts and update of
// all problems by kernels that are compiled for its sizes when it is created, one recorded launch a
// solve; draws and results as on the CPU, within rounding. The program starts without a driver, and
// creating such a planner then throws a sentence that says what is missing. Precision automatic
// means float16, with analytic dynamics float32.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "softmpc/error.h"
#include "softmpc/planner.h"

namespace softmpc::cuda {

class Device;  // private to cuda/

/// A fault has ended the device for this process: planners on it throw this from then on. Make them
/// again, on the device (open_device() gives a fresh one) or on the CPU.
class DeviceLost : public Error {
 public:
  using Error::Error;
};

/// Why no CUDA device can be used here, in one sentence; empty if one can.
std::string unavailable();
/// The first device, with a stream of its own: what is made with it works in order and belongs to
/// one thread, and does not wait for what is made with another. Throws Error with the sentence of
/// unavailable().
std::shared_ptr<Device> open_device();

/// How rollouts are computed.
enum class Path {
  automatic,  ///< by number of rollouts and device, from a fixed table: never by timing
  tile,       ///< mma.sync on blocks of rollouts, sm_80 and later
  cluster,    ///< one cluster of blocks for few rollouts: shortest time, sm_90
  wgmma,      ///< warpgroup products for many rollouts: highest rate, sm_90a
  plain,      ///< float32, any width
  analytic,   ///< float32, dynamics by a formula in place of members, value by a formula or critic
};
const char* to_string(Path path);

/// What PlannerOptions::cuda points to.
struct DeviceOptions {
  Path path = Path::automatic;
  /// Beside 16-bit members the critic's operands are sums of two numbers, as good as float32 at
  /// three times the work: its values may be hundreds of temperatures. False: one, as the members'.
  bool split_critic = true;
  /// The same for the members' first and last layers, a tenth of their work.
  bool split_edges = true;
  std::shared_ptr<Device> device = nullptr;  ///< null: open_device()
};

/// What ran, for diagnostics and benchmarks.
struct DeviceDiagnostics {
  Path path = Path::automatic;
  std::string device;          ///< name
  std::string why;             ///< of the path, in a sentence
  int registers = 0;           ///< a thread of the rollout kernel
  int shared_bytes = 0;        ///< a block of it
  int blocks = 0;              ///< of the last solve
  int carried = 0;             ///< kernels that the library brought, or a file of use_kernels()
  int cached = 0;              ///< those found in the cache on disk
  int compiled = 0;            ///< those that NVRTC compiled now
  double compile_seconds = 0;  ///< compiling and loading the latter
  double load_seconds = 0;     ///< loading the others
  std::string not_kept;        ///< why the cache does not hold what was compiled; empty if it does
};

struct CompiledKernels {
  int kernels = 0;
  std::size_t bytes = 0;
};

/// Compiles what planners load, for machines without a compiler; needs NVRTC and no device. `make`
/// is to create, on the options it is given, the planner or Controller that such a machine will
/// create; it is called for devices of every size. `capabilities`: 87 for sm_87. Writes `path`
/// whole or not at all. Throws UsageError for a capability that is not known, Error where NVRTC is
/// missing or too old, and what `make` throws.
CompiledKernels compile_kernels(const std::string& path, std::span<const int> capabilities,
                                const std::function<void(const DeviceOptions&)>& make);
/// Planners that are made from now on take their kernels from this file where it has them; the
/// environment's SOFTMPC_KERNELS names one more. For any thread. Throws Error naming `path`.
void use_kernels(const std::string& path);

/// Of a planner on a device; throws Error for one of the CPU. With proposals, of the solve that
/// serves both halves.
DeviceDiagnostics diagnostics(const Planner& planner);
/// Seconds of device time per solve of the batch last solved, over `repeats` replays.
double device_seconds(Planner& planner, int repeats);

}  // namespace softmpc::cuda
