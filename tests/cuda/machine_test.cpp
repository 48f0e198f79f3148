// SPDX-License-Identifier: Apache-2.0
// Tests of the emulated machine: what the intrinsics do, that broken kernels are reported.
#include <gtest/gtest.h>

#include <chrono>
#include <numeric>

#include "emulator/emulated_device.h"
#include "kernels/fragments.h"
#include "kernels/intrinsics.h"
#include "softmpc/error.h"
#include "softmpc/hd/f16.h"

namespace softmpc::cuda {
namespace {

using emulator::Order;
using emulator::RunOptions;
using emulator::Timing;

/// The text of the Error that a run ends with; empty if none.
std::string error_of(const emulator::Grid& grid, const RunOptions& options,
                     const std::function<void()>& body) {
  try {
    emulator::run(grid, options, body);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Machine, EveryThreadRunsOnce) {
  for (const RunOptions& options : emulator::all_orders()) {
    std::vector<int> seen(3 * 96);
    emulator::run({"count", 3, 96, 1, 0}, options, [&] {
      ++seen[static_cast<std::size_t>(block() * threads() + thread())];
      EXPECT_EQ(lane(), thread() % 32);
      EXPECT_EQ(warp(), thread() / 32);
      EXPECT_EQ(blocks(), 3);
    });
    EXPECT_EQ(seen, std::vector<int>(3 * 96, 1));
  }
}

TEST(Machine, BlockSumThroughSharedMemory) {
  for (const RunOptions& options : emulator::all_orders()) {
    int sum = 0;
    emulator::run({"sum", 1, 256, 1, 1024}, options, [&] {
      int* values = reinterpret_cast<int*>(shared_memory());
      values[thread()] = thread();
      for (int step = 128; step > 0; step /= 2) {
        sync_block();
        if (thread() < step) values[thread()] += values[thread() + step];
      }
      if (thread() == 0) sum = values[0];
    });
    EXPECT_EQ(sum, 255 * 128);
  }
}

TEST(Machine, MissingBarrierShowsInSomeOrder) {
  const auto results = [] {
    std::vector<int> sums;
    for (const RunOptions& options : emulator::all_orders()) {
      int sum = 0;
      emulator::run({"racy", 1, 64, 1, 256}, options, [&] {
        int* values = reinterpret_cast<int*>(shared_memory());
        values[thread()] = thread();
        // no sync_block()
        if (thread() == 63)
          for (int i = 0; i < 64; ++i) sum += values[i];
      });
      sums.push_back(sum);
    }
    return sums;
  }();
  EXPECT_EQ(results[0], 63 * 32);  // forward happens to be right
  EXPECT_NE(results[2], 63 * 32);  // reverse is not
}

TEST(Machine, DeadlockAndDivergenceAreReported) {
  const std::string deadlock = error_of({"stuck", 1, 64, 1, 0}, {}, [] {
    if (warp() == 0) sync_block();
  });
  EXPECT_NE(deadlock.find("deadlock: block 0: threads 0-31 wait at sync_block (32 of 64 threads "
                          "are there); threads 32-63 have ended"),
            std::string::npos)
      << deadlock;
  const std::string diverged = error_of({"split", 2, 64, 1, 0}, {}, [] {
    if (block() == 1 && warp() == 1 && lane() == 5) ballot(true);
    sync_warp();
  });
  EXPECT_NE(diverged.find("kernel 'split', block 1, warp 1, lane 5: diverged: calls ballot while "
                          "lanes 0,1,2,3,4 are at sync_warp"),
            std::string::npos)
      << diverged;
}

TEST(Machine, MmaSpeed) {
  const auto begin = std::chrono::steady_clock::now();
  float total = 0;
  emulator::run({"speed", 1, 256, 1, 0}, {}, [&] {
    float d[4] = {};
    const std::uint32_t one = pack_f16(1.0f, 1.0f);
    const std::uint32_t a[4] = {one, one, one, one};
    for (int i = 0; i < 256; ++i) mma_f16(d, a, one, one);
    total += d[0] + d[1] + d[2] + d[3];
  });
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  EXPECT_EQ(total, 256.0f * 4 * 256 * 16);
  RecordProperty("microseconds_per_mma", std::to_string(seconds / 2048 * 1e6));
  std::fprintf(stderr, "%.3f us per mma\n", seconds / 2048 * 1e6);
}

// --- the device

struct ScaleJob {
  const float* in;
  float* out;
  float factor;
};
template <class Sizes, class Rules, int extra>
SOFTMPC_KERNEL void scale_kernel(const ScaleJob& job) {
  if (thread() < Sizes::nx) {
    const float* x = job.in;
    job.out[thread()] =
        job.factor * x[thread()] + Rules::reward(x, x, x) + extra + Sizes::dynamics_width;
  }
}
using TestWidths = emulator::WidthList<emulator::Widths<64, 64, 0>, emulator::Widths<128, 64, 0>>;
SOFTMPC_EMULATE(ScaleJob, TestWidths, scale_kernel<Sizes, Rules, 3>);

class SumReward : public RewardModel {
 public:
  void reward(ConstColumns x, ConstColumns, ConstColumns next, int count,
              float* out) const override {
    for (int j = 0; j < count; ++j) out[j] = x[0][j] + next[1][j];
  }
};

TEST(EmulatedDevice, LoadsLaunchesRecordsAndReplays) {
  emulator::EmulatedDevice device;
  const SumReward reward;
  KernelSource source;
  source.call = "scale_kernel<Sizes, Rules, 3>";
  source.constants.nx = 3;
  source.constants.nu = 1;
  source.constants.dynamics_width = 128;
  source.constants.critic_width = 64;
  source.host_rules = &reward;
  source.threads = 32;
  const auto kernel = device.load(source);
  const auto in = device.allocate(12), out = device.allocate(12);
  std::vector<float> host = {1, 2, 3}, result(3);
  const auto work = [&] {
    device.upload(in->data(), host.data(), 12);
    device.launch(*kernel, {1, 32, 1, 0}, ScaleJob{in->as<float>(), out->as<float>(), 10.0f});
    device.download(result.data(), out->data(), 12);
  };
  work();
  EXPECT_EQ(result, (std::vector<float>{144, 154, 164}));
  const auto graph = device.record(work);
  host = {0, 1, 2};
  EXPECT_EQ(device.launches(), 1);
  device.replay(*graph);
  EXPECT_EQ(result, (std::vector<float>{132, 142, 152}));
  EXPECT_EQ(device.launches(), 2);
  source.constants.policy_width = 64;
  EXPECT_THROW(device.load(source), Error);
  EXPECT_THROW(device.upload(host.data(), host.data(), 12), Error);
}

}  // namespace
}  // namespace softmpc::cuda
