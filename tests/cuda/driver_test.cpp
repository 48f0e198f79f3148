// SPDX-License-Identifier: Apache-2.0
// Tests cuda/driver.cpp, context.cpp and driver_device.cpp on a driver that has no device but does
// what FAKE_CUDA says: what goes wrong, and what is freed and shared.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "plan/device_planner.h"
#include "runtime/device.h"
#include "runtime/fixed_kernels.h"
#include "runtime/precompiled.h"
#include "softmpc/error.h"
#include "temp_folder.h"
#include "variable.h"

namespace softmpc::cuda {
namespace {

using test::error_of;

/// What the fake driver does, for a while.
struct Mode : Variable {
  explicit Mode(const char* mode) : Variable("FAKE_CUDA", mode) {}
};

struct DrawJob {  // as large as that of the probe
  std::uint64_t words[4] = {};
};

KernelSource probe() { return fixed_kernels().front().source; }

TEST(Driver, SaysThatItIsTooOld) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // the driver is loaded once a process
  EXPECT_EXIT(
      {
        const Mode old("old");
        std::fputs(unavailable().c_str(), stderr);
        std::_Exit(0);
      },
      testing::ExitedWithCode(0),
      "the CUDA driver supports CUDA 11.4, at least 12.0 is needed: update NVIDIA's driver to 525 "
      "or later");
}

TEST(Driver, SaysWhatIsMissing) {
  {
    const Mode none("none");
    EXPECT_EQ(unavailable().substr(0, 40), "no CUDA device: the driver finds none");
    EXPECT_EQ(error_of<Error>([] { open_device(); }), unavailable());
  }
  {
    const Mode old_device("v70");
    EXPECT_EQ(unavailable(),
              "the first CUDA device, Fake, has compute capability 7.0, at least 8.0 is needed");
  }
  EXPECT_EQ(unavailable(), "");
}

TEST(Driver, IsOpenedAndClosed) {
  std::shared_ptr<Device> device = open_device();
  EXPECT_EQ(device->facts().capability, 90);
  EXPECT_EQ(device->facts().processors, 132);
  EXPECT_TRUE(device->facts().clusters);
  auto memory = device->allocate(64);
  const std::weak_ptr<Device> watched = device;
  device.reset();
  EXPECT_TRUE(watched.expired());  // the memory keeps the context, not the device
}

TEST(Driver, RecordsAndReplays) {
  const std::shared_ptr<Device> device = open_device();
  auto memory = device->allocate(4);
  auto host = device->allocate_host(8);
  int* value = host->as<int>();
  EXPECT_EQ(value[0], 0);
  device->download(value, memory->data(), 4);
  EXPECT_EQ(value[0], 0);  // zeroed
  const auto graph = device->record([&] {
    device->upload(memory->data(), value, 4);
    device->download(value + 1, memory->data(), 4);
  });
  value[0] = 7;
  EXPECT_EQ(value[1], 0);
  device->replay(*graph);
  EXPECT_EQ(value[1], 7);
  EXPECT_DOUBLE_EQ(device->time([&] { device->replay(*graph); }), 2e-3);
  EXPECT_EQ(error_of<Error>([&] { device->record([] { throw Error("in between"); }); }),
            "in between");
  device->upload(memory->data(), value, 4);  // no longer recorded
  device->synchronise();
}

// What one thread records, another must not add to: each has a stream of its own.
TEST(Driver, TwoThreadsRecordApart) {
  constexpr int kRounds = 200;
  std::atomic<int> ready = 0;
  std::array<int, 2> wrong = {0, 0};
  const auto work = [&](int thread) {
    const std::shared_ptr<Device> device = open_device();
    auto memory = device->allocate(4);
    auto host = device->allocate_host(8);
    int* value = host->as<int>();
    ++ready;
    while (ready < 2) std::this_thread::yield();
    for (int round = 0; round < kRounds; ++round) {
      const auto graph = device->record([&] {
        device->upload(memory->data(), value, 4);
        std::this_thread::yield();
        device->download(value + 1, memory->data(), 4);
      });
      value[0] = 2 * round + thread;
      value[1] = -1;
      device->replay(*graph);
      device->synchronise();
      wrong[static_cast<std::size_t>(thread)] += value[1] != value[0];
    }
  };
  std::thread other(work, 1);
  work(0);
  other.join();
  EXPECT_EQ(wrong[0], 0);
  EXPECT_EQ(wrong[1], 0);
}

TEST(Driver, ChecksLaunches) {
  if (precompiled_kernels().empty()) GTEST_SKIP() << "built without nvcc";
  const std::shared_ptr<Device> device = open_device();
  const auto kernel = device->load(probe());
  EXPECT_GT(kernel->facts().registers, 8);
  EXPECT_EQ(kernel->facts().spilled_bytes, 0);
  EXPECT_EQ(kernel->facts().origin, Origin::library);
  const DrawJob job;
  device->launch(*kernel, {.blocks = 2}, job);
  EXPECT_EQ(error_of<Error>([&] { device->launch(*kernel, {.blocks = 2}, 1.0); }),
            "probe_draws: the job has 8 bytes, the kernel's has 32");
  EXPECT_NE(error_of<Error>([&] {
              device->launch(*kernel, {.threads = 512}, job);
            }).find("at most 256 threads"),
            std::string::npos);
  EXPECT_EQ(error_of<Error>([&] { device->launch(*kernel, {.shared_bytes = 300 << 10}, job); }),
            "probe_draws needs 307200 bytes of shared memory a block, the device has 232448");
}

TEST(Driver, NamesMemoryThatIsNotThere) {
  const std::shared_ptr<Device> device = open_device();
  const Mode full("full");
  EXPECT_EQ(error_of<Error>([&] { device->allocate(5000); }),
            "out of device memory: 5000 bytes asked for, 1000 of 2000 are free");
}

TEST(Driver, SurvivesAFault) {
  if (precompiled_kernels().empty()) GTEST_SKIP() << "built without nvcc";
  std::shared_ptr<Device> device = open_device();
  const std::shared_ptr<Device> beside = open_device();
  const auto kernel = device->load(probe());
  auto memory = device->allocate(16);
  auto graph = device->record([] {});
  {
    const Mode fault("fault");
    EXPECT_EQ(error_of<DeviceLost>([&] { device->synchronise(); }),
              "waiting for the device: CUDA_ERROR_ILLEGAL_ADDRESS (in a test): all on the device "
              "is lost, create what used it again");
  }
  EXPECT_EQ(error_of<Error>([&] { device->replay(*graph); }),
            "the device was lost by an earlier fault: open it again");
  EXPECT_THROW(device->allocate(8), Error);
  // a new one while all of the old is still there
  const std::shared_ptr<Device> fresh = open_device();
  EXPECT_EQ(error_of<DeviceLost>([&] { beside->synchronise(); }),
            "the device was lost by an earlier fault: open it again");
  auto again = fresh->allocate(16);
  fresh->synchronise();
  EXPECT_EQ(error_of<Error>([&] { fresh->launch(*kernel, {}, DrawJob{}); }),
            "probe_draws: was loaded on another device, or before a fault");
  EXPECT_EQ(error_of<Error>([&] { fresh->replay(*graph); }),
            "replaying: recorded on another device, or before a fault");
  memory.reset();  // lost with the context: nothing of the new one is freed
  graph.reset();
  device.reset();
  fresh->synchronise();
}

/// What a planner of the fixed kernels' sizes is made of.
struct FixedPlanner {
  FixedPlanner() {
    config.rollouts = c.rollouts;
    config.horizon = c.horizon;
    config.handle_terminations = true;
    config.precision = Precision::float16;
    shape.nx = c.nx;
    shape.nu = c.nu;
    shape.action_low.assign(static_cast<std::size_t>(c.nu), -1.0f);
    shape.action_high.assign(static_cast<std::size_t>(c.nu), 1.0f);
  }
  const KernelConstants& c = fixed_kernels().back().source.constants;
  NetWeights members = NetWeights::zeros(
      c.members, NetSpec::mlp({c.nx + c.nu, c.dynamics_width, c.dynamics_width, c.nx + 2}));
  NetWeights critic =
      NetWeights::zeros(1, NetSpec::mlp({c.nx + c.nu, c.critic_width, c.critic_width, 1}));
  PlannerConfig config;
  ProblemShape shape;
  DeviceModels models = {
      .members = &members, .outputs = {.reward = true, .termination = true}, .critics = &critic};
};

TEST(Driver, PlansWithFixedKernelsWithoutACompiler) {
  if (precompiled_kernels().empty()) GTEST_SKIP() << "built without nvcc";
  const Mode nothing_wrong("");
  const Variable no_compiler("SOFTMPC_NVRTC", "/does/not/exist.so");
  const FixedPlanner fixed;
  for (Path path : {Path::cluster, Path::tile}) {
    const std::string error = error_of<Error>([&] {
      const DevicePlanner planner(fixed.config, fixed.shape, fixed.models, {.path = path});
      EXPECT_EQ(planner.diagnostics().compile_seconds, 0);
    });
    EXPECT_EQ(error, "(no exception)");
  }
}

// 200 rollouts are 13 clusters: all at a time on a whole H100, not where groups lack processors.
TEST(Driver, TakesTilesWhereClustersWouldWait) {
  if (precompiled_kernels().empty()) GTEST_SKIP() << "built without nvcc";
  const FixedPlanner fixed;
  for (const auto& [mode, path] : {std::pair{"", Path::cluster}, std::pair{"groups", Path::tile}}) {
    const Mode driver(mode);
    const DevicePlanner planner(fixed.config, fixed.shape, fixed.models, {});
    EXPECT_EQ(planner.diagnostics().path, path) << planner.diagnostics().why;
  }
}

TEST(Driver, NamesACubinThatItRefuses) {
  const std::shared_ptr<Device> device = open_device();
  const test::TempFolder cache;
  const Variable folder("SOFTMPC_CACHE_DIR", cache.path());
  const Mode image("image");
  const std::string error = error_of<Error>([&] { device->load(probe()); });
  if (error.find("NVRTC, which compiles") != std::string::npos) GTEST_SKIP() << error;
  EXPECT_EQ(error,
            "the driver (CUDA 13.0) refuses the cubin of probe_draws: CUDA_ERROR_FAKE (in a test); "
            "an NVRTC of CUDA 13 or an update of the driver helps");
}

}  // namespace
}  // namespace softmpc::cuda
