// SPDX-License-Identifier: Apache-2.0
#include "emulator/emulated_device.h"

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>

#include "softmpc/error.h"

namespace softmpc::cuda::emulator {

void HostRules::set(const KernelConstants& constants, const RewardModel* rules) {
  nx = constants.nx;
  nu = constants.nu;
  model = rules;
  parameters = nullptr;
  const auto count = static_cast<std::size_t>(rules ? rules->parameter_count() : 0);
  parameter_count = count > 0 && rules->device_rules().parameters.size() == count ? count : 0;
  scratch.assign(2 * static_cast<std::size_t>(nx) + nu, 0.0f);
}

float HostRules::reward_of_scratch() {
  if (model == nullptr) fail("asks for a reward, but the KernelSource has no host_rules");
  const float* x = scratch.data();
  float reward = 0;
  if (parameter_count > 0)
    model->reward_with({parameters, parameter_count}, {x, 1}, {x + nx, 1}, {x + nx + nu, 1}, 1,
                       &reward);
  else
    model->reward({x, 1}, {x + nx, 1}, {x + nx + nu, 1}, 1, &reward);
  return reward;
}

bool HostRules::terminated_of_scratch() {
  if (model == nullptr) fail("asks for a termination, but the KernelSource has no host_rules");
  if (!model->has_termination()) return false;
  std::uint8_t out = 0;
  const ConstColumns next = {scratch.data() + nx + nu, 1};
  if (parameter_count > 0)
    model->terminated_with({parameters, parameter_count}, next, 1, &out);
  else
    model->terminated(next, 1, &out);
  return out != 0;
}

void HostDynamics::set(const KernelConstants& constants, const DynamicsModel* dynamics) {
  nx = constants.nx;
  nu = constants.nu;
  model = dynamics;
  scratch.assign(2 * static_cast<std::size_t>(nx) + nu, 0.0f);
}

void HostDynamics::step_scratch() {
  if (model == nullptr) fail("asks for a step, but the KernelSource has no host_dynamics");
  float* x = scratch.data();
  std::vector<char> own(model->scratch_bytes(1));
  model->step(0, {x, 1}, {x + nx, 1}, 1, {{x + nx + nu, 1}, nullptr, nullptr}, own.data());
}

void HostValue::set(const KernelConstants& constants, const TerminalValue* value) {
  nx = constants.nx;
  nu = constants.nu;
  model = value;
  scratch.assign(static_cast<std::size_t>(nx) + nu, 0.0f);
}

float HostValue::value_of_scratch() {
  if (model == nullptr) fail("asks for a value, but the KernelSource has no host_value");
  const float* x = scratch.data();
  float value = 0;
  std::vector<char> own(model->scratch_bytes(1));
  model->evaluate({x, 1}, {x + nx, 1}, 1, &value, own.data());
  return value;
}

std::string kernel_key(const std::string& call, int dynamics, int critic, int policy) {
  std::string key;
  for (const char c : call)
    if (c != ' ' && c != '\n' && c != '\t') key += c;
  return key + " widths " + std::to_string(dynamics) + "," + std::to_string(critic) + "," +
         std::to_string(policy);
}

std::map<std::string, EmulatedKernel>& kernel_registry() {
  static std::map<std::string, EmulatedKernel> registry;
  return registry;
}

DeviceFacts facts_of(int capability) {
  const bool hopper = capability >= 90;
  return {"emulator sm_" + std::to_string(capability),
          capability,
          hopper ? 132 : 108,
          (hopper ? 227 : 163) * 1024,
          std::size_t{8} << 30,
          hopper,
          true};
}

namespace {

class EmulatedMemory : public Memory {
 public:
  EmulatedMemory(std::size_t bytes, std::function<void(const void*)> freed)
      : freed_(std::move(freed)) {
    if (bytes > 0 && ::posix_memalign(&data_, 256, bytes) != 0) throw std::bad_alloc();
    size_ = bytes;
    if (bytes > 0) std::memset(data_, 0, bytes);
  }
  ~EmulatedMemory() override {
    if (freed_) freed_(data_);
    std::free(data_);
  }

 private:
  std::function<void(const void*)> freed_;
};

class LoadedKernel : public Kernel {
 public:
  std::string key;
  EmulatedKernel kernel;
  KernelConstants constants;
  const RewardModel* rules = nullptr;
  const DynamicsModel* dynamics = nullptr;
  const TerminalValue* value = nullptr;
  int threads = 0, cluster = 0;
  KernelFacts facts() const override { return {}; }
};

}  // namespace

struct EmulatedDevice::Allocations {
  std::map<const char*, std::size_t> sizes;
};

class EmulatedDevice::RecordedWork : public Graph {
 public:
  std::vector<Operation> operations;
};

EmulatedDevice::EmulatedDevice(DeviceFacts facts, RunOptions options)
    : facts_(std::move(facts)), options_(options), allocations_(std::make_shared<Allocations>()) {}

EmulatedDevice::~EmulatedDevice() = default;

std::unique_ptr<Memory> EmulatedDevice::allocate(std::size_t bytes) {
  require_not_recording("allocate");
  auto memory = std::make_unique<EmulatedMemory>(bytes, [all = allocations_](const void* data) {
    all->sizes.erase(static_cast<const char*>(data));
  });
  if (bytes > 0) allocations_->sizes[memory->as<char>()] = bytes;
  return memory;
}

std::unique_ptr<Memory> EmulatedDevice::allocate_host(std::size_t bytes) {
  require_not_recording("allocate_host");
  return std::make_unique<EmulatedMemory>(bytes, nullptr);
}

void EmulatedDevice::require_not_recording(const char* call) const {
  if (recording_ != nullptr) throw Error(std::string(call) + "() while work is recorded");
}

void EmulatedDevice::require_device(const void* pointer, std::size_t bytes,
                                    const char* call) const {
  const auto* p = static_cast<const char*>(pointer);
  auto it = allocations_->sizes.upper_bound(p);
  if (bytes == 0) return;
  if (it == allocations_->sizes.begin() ||
      (--it, p < it->first || static_cast<std::size_t>(p - it->first) + bytes > it->second))
    throw Error(std::string(call) + ": " + std::to_string(bytes) +
                " bytes that are not inside one allocation of the device");
}

std::shared_ptr<Kernel> EmulatedDevice::load(const KernelSource& source) {
  require_not_recording("load");
  const KernelConstants& c = source.constants;
  const std::string key = kernel_key(source.call, c.dynamics_width, c.critic_width, c.policy_width);
  auto found = kernel_registry().find(key);
  if (found == kernel_registry().end())
    found = kernel_registry().find(kernel_key(source.call, -1, -1, -1));  // AnyWidth
  if (found == kernel_registry().end()) {
    std::string known;
    for (const auto& [name, kernel] : kernel_registry()) known += "\n  " + name;
    throw Error("the emulator does not know kernel '" + key + "'; registered are:" + known);
  }
  auto loaded = std::make_shared<LoadedKernel>();
  loaded->key = key;
  loaded->kernel = found->second;
  loaded->constants = c;
  loaded->rules = source.host_rules;
  loaded->dynamics = source.host_dynamics;
  loaded->value = source.host_value;
  loaded->threads = source.threads;
  loaded->cluster = source.cluster;
  return loaded;
}

int EmulatedDevice::clusters_at_a_time(const Kernel&, const LaunchShape& shape) {
  return facts_.processors / shape.cluster;
}

void EmulatedDevice::perform(Operation operation) {
  if (recording_ != nullptr)
    recording_->push_back(std::move(operation));
  else
    operation();
}

void EmulatedDevice::upload(void* to, const void* from_host, std::size_t bytes) {
  require_device(to, bytes, "upload to");
  perform([=] {
    if (bytes > 0) std::memcpy(to, from_host, bytes);
  });
}

void EmulatedDevice::download(void* to_host, const void* from, std::size_t bytes) {
  require_device(from, bytes, "download from");
  perform([=] {
    if (bytes > 0) std::memcpy(to_host, from, bytes);
  });
}

void EmulatedDevice::launch(const Kernel& kernel, const LaunchShape& shape, const void* job,
                            std::size_t job_bytes) {
  const auto* loaded = dynamic_cast<const LoadedKernel*>(&kernel);
  if (loaded == nullptr) throw Error("launch: a kernel of another device");
  const auto require = [&](bool holds, const std::string& text) {
    if (!holds) throw Error("kernel '" + loaded->key + "': " + text);
  };
  require(job_bytes == loaded->kernel.job_bytes, "a job of " + std::to_string(job_bytes) +
                                                     " bytes, it takes " +
                                                     std::to_string(loaded->kernel.job_bytes));
  require(shape.threads == loaded->threads, "loaded for " + std::to_string(loaded->threads) +
                                                " threads a block, launched with " +
                                                std::to_string(shape.threads));
  require(shape.cluster == loaded->cluster, "loaded for clusters of " +
                                                std::to_string(loaded->cluster) +
                                                ", launched with " + std::to_string(shape.cluster));
  require(shape.cluster == 1 || facts_.clusters, "this device has no clusters");
  require(shape.cluster <= 8, "clusters of more than 8 blocks do not run on every device");
  require(shape.shared_bytes >= 0 && shape.shared_bytes <= facts_.shared_per_block,
          std::to_string(shape.shared_bytes) + " bytes of shared memory, a block may have " +
              std::to_string(facts_.shared_per_block));
  const auto* first = static_cast<const char*>(job);
  // memory of a job is aligned as new aligns it
  perform([this, loaded, shape, copied = std::vector<char>(first, first + job_bytes)] {
    static std::mutex one_at_a_time;  // sizes are static variables
    const std::lock_guard lock(one_at_a_time);
    loaded->kernel.set(loaded->constants);
    HostRules::set(loaded->constants, loaded->rules);
    HostDynamics::set(loaded->constants, loaded->dynamics);
    HostValue::set(loaded->constants, loaded->value);
    ++launches_;
    run({loaded->key, shape.blocks, shape.threads, shape.cluster,
         static_cast<std::size_t>(shape.shared_bytes)},
        options_, [&] { loaded->kernel.body(copied.data()); });
  });
}

std::unique_ptr<Graph> EmulatedDevice::record(const std::function<void()>& work) {
  require_not_recording("record");
  auto recorded = std::make_unique<RecordedWork>();
  struct Recording {
    EmulatedDevice& device;
    ~Recording() { device.recording_ = nullptr; }
  } recording{*this};
  recording_ = &recorded->operations;
  work();
  return recorded;
}

void EmulatedDevice::replay(const Graph& graph) {
  require_not_recording("replay");
  for (const Operation& operation : dynamic_cast<const RecordedWork&>(graph).operations)
    operation();
}

void EmulatedDevice::synchronise() { require_not_recording("synchronise"); }

double EmulatedDevice::time(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace softmpc::cuda::emulator
