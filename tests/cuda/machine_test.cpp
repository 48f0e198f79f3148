// SPDX-License-Identifier: Apache-2.0
// Tests of the emulated machine: what the intrinsics do, that broken kernels are reported.
#include <gtest/gtest.h>

#include <chrono>

#include "error_of.h"
#include "kernels/intrinsics.h"

namespace softmpc::cuda {
namespace {

using emulator::Order;
using emulator::RunOptions;
using emulator::Timing;

using test::error_of;

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

TEST(Machine, ErrorsOfAKernelLeaveTheMachineUsable) {
  const emulator::Grid grid{"throws", 2, 64, 1, 128};
  EXPECT_NE(error_of(grid, {},
                     [] {
                       sync_block();
                       if (block() == 1 && thread() == 40) throw Error("oh");
                       sync_block();
                     })
                .find("block 1, warp 1, lane 8: threw oh"),
            std::string::npos);
  EXPECT_EQ(error_of(grid, {}, [] { sync_block(); }), "");
  EXPECT_NE(error_of({"odd", 1, 40, 1, 0}, {}, [] {}).find("40 threads"), std::string::npos);
}

TEST(Machine, MeetingsExchange) {
  for (const RunOptions& options : emulator::all_orders())
    emulator::run({"exchange", 1, 64, 1, 0}, options, [&] {
      EXPECT_EQ(shuffle_xor(static_cast<float>(lane()), 5), static_cast<float>(lane() ^ 5));
      EXPECT_EQ(shuffle_xor(lane() + 0.25, 16), (lane() ^ 16) + 0.25);
      EXPECT_EQ(shuffle_xor(lane() * 3, 1), (lane() ^ 1) * 3);
      EXPECT_EQ(ballot(lane() % 3 == 0), 0x49249249u);
      int sum = lane();
      for (int step = 16; step > 0; step /= 2) sum += shuffle_xor(sum, step);
      EXPECT_EQ(sum, 31 * 16);
    });
}

TEST(Machine, SomeOfTheThreadsMeet) {
  for (const RunOptions& options : emulator::all_orders()) {
    int result = 0;
    emulator::run({"some", 1, 128, 1, 512}, options, [&] {
      int* values = reinterpret_cast<int*>(shared_memory());
      if (warp() == 3) return;
      if (warp() < 2) {
        values[thread()] = thread();
        sync_some(1, 64);
        if (thread() == 0)
          for (int i = 1; i < 64; ++i) values[0] += values[i];
      }
      sync_some(2, 96);
      if (thread() == 64) result = values[0];
    });
    EXPECT_EQ(result, 63 * 32);
  }
  const emulator::Grid grid{"some", 1, 64, 1, 0};
  EXPECT_NE(error_of(grid, {}, [] { sync_some(1, warp() == 0 ? 32 : 64); }).find("deadlock"),
            std::string::npos);
  EXPECT_NE(error_of(grid, {}, [] { sync_some(16, 32); }).find("ids are 1 to 15"),
            std::string::npos);
  EXPECT_NE(error_of(grid, {},
                     [] {
                       if (lane() < 16) sync_some(1, 32);
                     })
                .find("came in part"),
            std::string::npos);
}

TEST(Machine, TicketsAndBlocks) {
  for (const RunOptions& options : emulator::all_orders()) {
    std::uint32_t counter = 0;
    float parts[5] = {}, total = 0;
    emulator::run({"tickets", 5, 32, 1, 4}, options, [&] {
      auto* last = reinterpret_cast<std::uint32_t*>(shared_memory());
      if (thread() == 0) {
        parts[block()] = static_cast<float>(block() + 1);
        *last = take_ticket(&counter) == 4 ? 1 : 0;
      }
      sync_block();
      if (*last == 0) return;
      fence_device();
      if (thread() == 0)
        for (const float part : parts) total += part;
    });
    EXPECT_EQ(counter, 5u);
    EXPECT_EQ(total, 15.0f);
  }
}

/// Double-buffered copies of 16 bytes a thread; `kept` groups stay under way at the wait.
template <int kept>
void stream_kernel(const float* in, int tiles, float* out) {
  auto* ring = reinterpret_cast<float*>(shared_memory());  // [2][32 threads][4]
  const auto fetch = [&](int tile) {
    if (tile < tiles)
      copy_async(ring + (tile % 2 * 32 + thread()) * 4, in + (tile * 32 + thread()) * 4);
    copy_commit();
  };
  fetch(0);
  float sum = 0;
  for (int tile = 0; tile < tiles; ++tile) {
    fetch(tile + 1);
    copy_wait<kept>();
    sync_block();
    for (int i = 0; i < 4; ++i) sum += ring[(tile % 2 * 32 + 31 - thread()) * 4 + i];
    sync_block();
  }
  out[thread()] = sum;
}

TEST(Machine, CopiesArriveAtTheWaitAndNotBefore) {
  std::vector<Words4> memory(32 * 5);
  auto* in = reinterpret_cast<float*>(memory.data());
  std::vector<float> expected(32);
  for (int i = 0; i < 32 * 5 * 4; ++i) {
    in[i] = static_cast<float>(i);
    expected[static_cast<std::size_t>(31 - i / 4 % 32)] += in[i];
  }
  const emulator::Grid grid{"stream", 1, 32, 1, 1024};
  for (const RunOptions& options : emulator::all_orders()) {
    std::vector<float> out(32);
    emulator::run(grid, options, [&] { stream_kernel<1>(in, 5, out.data()); });
    EXPECT_EQ(out, expected) << to_string(options);
  }
  std::vector<float> out(32);
  emulator::run(grid, {}, [&] { stream_kernel<2>(in, 5, out.data()); });
  EXPECT_TRUE(std::isnan(out[0]));  // waits for too little: reads the poison
}

TEST(Machine, WrongAddressesAreReported) {
  const emulator::Grid grid{"addresses", 1, 32, 1, 100};
  alignas(16) static float global[8] = {};
  const auto at = [&](int to, int from) {
    return error_of(grid, {}, [=] { copy_async(shared_memory() + to, global + from); });
  };
  EXPECT_EQ(at(80, 4), "");
  EXPECT_NE(at(96, 0).find("16 bytes at byte 96 are not in the block's 100 bytes"),
            std::string::npos);
  EXPECT_NE(at(8, 0).find("not aligned to 16"), std::string::npos);
  EXPECT_NE(at(16, 1).find("not aligned to 16"), std::string::npos);
#if defined(SOFTMPC_FIBER_ASAN)
  EXPECT_DEATH(error_of(grid, {}, [] { shared_memory()[100] = 0; }), "heap-buffer-overflow");
#else
  EXPECT_NE(error_of(grid, {}, [] { shared_memory()[100] = 0; }).find("wrote byte 100 of 100"),
            std::string::npos);
#endif
  EXPECT_NE(error_of(grid, {},
                     [] {
                       const auto* words = reinterpret_cast<const std::uint32_t*>(global);
                       load_constant(words + 1);
                     })
                .find("load_constant"),
            std::string::npos);
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
}

}  // namespace
}  // namespace softmpc::cuda
