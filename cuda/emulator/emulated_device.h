// SPDX-License-Identifier: Apache-2.0
// A Device whose kernels are the project's, compiled for the CPU. A test registers those it needs,
// each for the padded widths that it uses:
//
//   #include "emulator/emulated_device.h"
//   #include "kernels/rollout_tile.cuh"
//   using Widths = emulator::WidthList<emulator::Widths<64, 64, 64>, emulator::Widths<256, 256,
//   0>>; SOFTMPC_EMULATE(RolloutJob, Widths, rollout_tile<Sizes, Rules, 64, Number::f16>);
//
//   emulator::EmulatedDevice device;          // or (facts), (facts, run options)
//   device.options() = {.order = emulator::Order::random, .seed = 7};
//   auto kernel = device.load(source);        // source.call as above, source.constants
//   device.launch(*kernel, shape, job);       // throws Error if the kernel breaks a rule
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "emulator/machine.h"
#include "runtime/device.h"

namespace softmpc::cuda::emulator {

/// Sizes of a kernel: variables but for the padded widths; set before each launch.
template <int Dynamics, int Critic, int Policy>
struct EmulatedSizes {
#define SOFTMPC_VARIABLE(name) static inline int name = 0;
  SOFTMPC_KERNEL_CONSTANTS(SOFTMPC_VARIABLE)
#undef SOFTMPC_VARIABLE
  static constexpr int dynamics_width = Dynamics, critic_width = Critic, policy_width = Policy;

  static void set(const KernelConstants& constants) {
#define SOFTMPC_SET(name) name = constants.name;
    SOFTMPC_KERNEL_CONSTANTS(SOFTMPC_SET)
#undef SOFTMPC_SET
  }
};

/// Rules of a kernel: the RewardModel of the KernelSource, for one lane at a time.
struct HostRules {
  static constexpr bool has_termination = true;  // terminated() is false where the model has none
  HostRules() = default;
  explicit HostRules(const float* given) { parameters = given; }

  template <class X, class A, class Next>
  static float reward(const X& x, const A& a, const Next& next) {
    for (int i = 0; i < nx; ++i) scratch[i] = x[i];
    for (int i = 0; i < nu; ++i) scratch[nx + i] = a[i];
    for (int i = 0; i < nx; ++i) scratch[nx + nu + i] = next[i];
    return reward_of_scratch();
  }
  template <class Next>
  static bool terminated(const Next& next) {
    for (int i = 0; i < nx; ++i) scratch[nx + nu + i] = next[i];
    return terminated_of_scratch();
  }

  static void set(const KernelConstants& constants, const RewardModel* rules);

 private:
  static inline int nx = 0, nu = 0;
  static inline const RewardModel* model = nullptr;
  static inline const float* parameters = nullptr;  // those on the device
  static inline std::size_t parameter_count = 0;    // 0: the model takes none from there
  static inline std::vector<float> scratch;         // x, a, next
  static float reward_of_scratch();
  static bool terminated_of_scratch();
};

/// Analytic dynamics and terminal value of a kernel: those of the KernelSource, for one lane.
struct HostDynamics {
  HostDynamics() = default;
  explicit HostDynamics(const float*) {}

  template <class X, class A, class Next>
  static void step(const X& x, const A& a, Next& next) {
    for (int i = 0; i < nx; ++i) scratch[i] = x[i];
    for (int i = 0; i < nu; ++i) scratch[nx + i] = a[i];
    step_scratch();
    for (int i = 0; i < nx; ++i) next[i] = scratch[nx + nu + i];
  }

  static void set(const KernelConstants& constants, const DynamicsModel* dynamics);

 private:
  static inline int nx = 0, nu = 0;
  static inline const DynamicsModel* model = nullptr;
  static inline std::vector<float> scratch;  // x, a, next
  static void step_scratch();
};

struct HostValue {
  HostValue() = default;
  explicit HostValue(const float*) {}

  template <class X, class A>
  static float value(const X& x, const A& a) {
    for (int i = 0; i < nx; ++i) scratch[i] = x[i];
    for (int i = 0; i < nu; ++i) scratch[nx + i] = a[i];
    return value_of_scratch();
  }

  static void set(const KernelConstants& constants, const TerminalValue* value);

 private:
  static inline int nx = 0, nu = 0;
  static inline const TerminalValue* model = nullptr;
  static inline std::vector<float> scratch;  // x, a
  static float value_of_scratch();
};

template <int Dynamics, int Critic, int Policy>
struct Widths {
  using Sizes = EmulatedSizes<Dynamics, Critic, Policy>;
};
/// Of a kernel that reads no width; one that does is not compiled: a width below 0.
using AnyWidth = Widths<-1, -1, -1>;
template <class... Each>
struct WidthList {};

/// A compiled body for one choice of widths.
struct EmulatedKernel {
  std::size_t job_bytes = 0;
  void (*set)(const KernelConstants&) = nullptr;
  void (*body)(const void* job) = nullptr;
};

/// "call" without spaces and the widths.
std::string kernel_key(const std::string& call, int dynamics, int critic, int policy);
std::map<std::string, EmulatedKernel>& kernel_registry();

template <class Job, class Body, class... Each>
bool add_kernels(const char* call, WidthList<Each...>, Body) {
  const auto add = [&]<class Sizes>() {
    kernel_registry()[kernel_key(call, Sizes::dynamics_width, Sizes::critic_width,
                                 Sizes::policy_width)] = {
        sizeof(Job), &Sizes::set, [](const void* job) {
          Body{}.template operator()<Sizes, HostRules, HostDynamics, HostValue>(
              *static_cast<const Job*>(job));
        }};
  };
  (add.template operator()<typename Each::Sizes>(), ...);
  return true;
}

#define SOFTMPC_EMULATE_JOIN2(a, b) a##b
#define SOFTMPC_EMULATE_JOIN(a, b) SOFTMPC_EMULATE_JOIN2(a, b)
/// At namespace scope: the call (last, may have commas) for each of the widths.
#define SOFTMPC_EMULATE(Job, WidthListType, ...)                                              \
  [[maybe_unused]] static const bool SOFTMPC_EMULATE_JOIN(softmpc_emulated_, __COUNTER__) =   \
      ::softmpc::cuda::emulator::add_kernels<Job>(                                            \
          #__VA_ARGS__, WidthListType{},                                                      \
          []<class Sizes, class Rules, class Dynamics, class Value>(const Job& softmpc_job) { \
            __VA_ARGS__(softmpc_job);                                                         \
          })

DeviceFacts facts_of(int capability);  ///< 80: A100, 90: H100, as far as kernels see

class EmulatedDevice : public Device {
 public:
  explicit EmulatedDevice(DeviceFacts facts = facts_of(90), RunOptions options = {});
  ~EmulatedDevice() override;

  RunOptions& options() { return options_; }
  /// Kernels launched so far.
  long launches() const { return launches_; }

  const DeviceFacts& facts() const override { return facts_; }
  std::unique_ptr<Memory> allocate(std::size_t bytes) override;
  std::unique_ptr<Memory> allocate_host(std::size_t bytes) override;
  std::shared_ptr<Kernel> load(const KernelSource& source) override;
  int clusters_at_a_time(const Kernel& kernel, const LaunchShape& shape) override;
  void upload(void* to, const void* from_host, std::size_t bytes) override;
  void download(void* to_host, const void* from, std::size_t bytes) override;
  using Device::launch;
  void launch(const Kernel& kernel, const LaunchShape& shape, const void* job,
              std::size_t job_bytes) override;
  std::unique_ptr<Graph> record(const std::function<void()>& work) override;
  void replay(const Graph& graph) override;
  void synchronise() override;
  double time(const std::function<void()>& work) override;

 private:
  struct Allocations;  // what device memory there is
  using Operation = std::function<void()>;
  class RecordedWork;
  void perform(Operation operation);
  void require_device(const void* pointer, std::size_t bytes, const char* call) const;
  void require_not_recording(const char* call) const;

  DeviceFacts facts_;
  RunOptions options_;
  long launches_ = 0;
  std::shared_ptr<Allocations> allocations_;
  std::vector<Operation>* recording_ = nullptr;
};

}  // namespace softmpc::cuda::emulator
