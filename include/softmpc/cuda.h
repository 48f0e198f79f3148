// SPDX-License-Identifier: Apache-2.0
// The planner on a CUDA device: rollouts and update of all problems by kernels that are compiled
// for its sizes when it is created, one recorded launch a solve. Same method, draws and results as
// Planner (planner.h), within rounding; the program starts without a driver, and creating one then
// throws a sentence that says what is missing.
#pragma once

#include <memory>
#include <string>

#include "softmpc/controller.h"
#include "softmpc/network.h"
#include "softmpc/planner.h"

namespace softmpc::cuda {

class Device;  // private to cuda/

/// Why no CUDA device can be used here, in one sentence; empty if one can.
std::string unavailable();
/// The first device; throws Error with the sentence of unavailable(). Planners share it.
std::shared_ptr<Device> open_device();

/// How rollouts are computed.
enum class Path {
  automatic,  ///< by number of rollouts and device, from a fixed table: never by timing
  tile,       ///< mma.sync on blocks of rollouts, sm_80 and later
  cluster,    ///< one cluster of blocks for few rollouts: shortest time, sm_90
  wgmma,      ///< warpgroup products for many rollouts: highest rate, sm_90a
  plain,      ///< float32, any width
  analytic,   ///< float32, dynamics and value by formulas in place of networks
};
const char* to_string(Path path);

/// Networks and rules to plan with. Weights are copied; `reward` is borrowed, null if learned.
/// Analytic `dynamics` and `value`, borrowed, take the place of members and critics; both and the
/// reward then need device_rules(), and there is no policy.
struct DeviceModels {
  const NetWeights* members = nullptr;
  MemberOutputs outputs = {};
  const NetWeights* critics = nullptr;
  int critic = 0;  ///< which of the stack
  const NetWeights* policy = nullptr;
  const RewardModel* reward = nullptr;
  const DynamicsModel* dynamics = nullptr;
  const TerminalValue* value = nullptr;
};

struct DeviceOptions {
  Path path = Path::automatic;
  /// Beside 16-bit members the critic's operands are sums of two numbers, as good as float32 at
  /// three times the work: its values may be hundreds of temperatures. False: one, as the members'.
  bool split_critic = true;
  /// The same for the members' first and last layers, a tenth of their work.
  bool split_edges = true;
};

/// What ran, for diagnostics and benchmarks.
struct DeviceDiagnostics {
  Path path = Path::automatic;
  std::string device;          ///< name
  std::string why;             ///< of the path, in a sentence
  int registers = 0;           ///< a thread of the rollout kernel
  int shared_bytes = 0;        ///< a block of it
  int blocks = 0;              ///< of the last solve
  double compile_seconds = 0;  ///< 0 where the kernels came from the cache
  double load_seconds = 0;
};

/// Batched MPPI on a device. Not for use by several threads at once.
class DevicePlanner {
 public:
  /// Precision automatic means float16, with analytic models float32. Throws UsageError on a bad
  /// config or shape, Error on missing or non-finite networks, a model without device rules, sizes
  /// beyond the limits, or a device that refuses.
  DevicePlanner(const PlannerConfig& config, const ProblemShape& shape, const DeviceModels& models,
                DeviceOptions options = {}, std::shared_ptr<Device> device = nullptr);
  ~DevicePlanner();

  const PlannerConfig& config() const;
  const ProblemShape& shape() const;
  DeviceDiagnostics diagnostics() const;

  /// Copies new weights of the same shapes, and new parameters (a map that changed) of the rules of
  /// those models that are given. With analytic models all but these may be absent.
  void update(const DeviceModels& models);
  /// As Planner::solve. A trace makes a slower specialisation run that keeps what it asks for.
  void solve(SolveKey key, const PlanBatch& batch, PlanTrace* trace = nullptr);
  /// Seconds of device time per solve of the batch last solved, over `repeats` replays.
  double device_seconds(int repeats);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// A controller on the device that options.device names: "cpu"; "cuda"; "auto", which is cuda where
/// unavailable() says nothing and the bundle's own members are looked ahead with, else cpu. A
/// device plans in the bundle's planner.precision (auto: float16). Throws as DevicePlanner and
/// Controller.
Controller make_controller(const Bundle& bundle, const RewardModel* reward,
                           const ControllerOptions& options,
                           std::shared_ptr<Device> device = nullptr);

}  // namespace softmpc::cuda
