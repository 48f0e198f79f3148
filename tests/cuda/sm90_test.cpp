// SPDX-License-Identifier: Apache-2.0
// Tests what only sm_90 has: clusters, barriers in shared memory, bulk copies and the ring on them,
// warpgroup products.
#include <gtest/gtest.h>

#include <numeric>
#include <random>

#include "error_of.h"
#include "kernels/intrinsics.h"
#include "kernels/intrinsics_wgmma.cuh"
#include "kernels/weight_ring.cuh"
#include "softmpc/hd/bf16.h"
#include "softmpc/hd/f16.h"

namespace softmpc::cuda {
namespace {

using emulator::Order;
using emulator::RunOptions;
using emulator::Timing;
using test::error_of;

// --- clusters

/// Each block of a cluster of 4 sends its part of every sum to the block that owns it.
void reduce_kernel(const float* in, float* out) {
  auto* parts = reinterpret_cast<float*>(shared_memory());  // [4 ranks][4]
  const int rank = cluster_rank();
  if (thread() < 4) {
    const float* x = in + (block() * 4 + thread()) * 4;
    store_remote(remote_address(parts + 4 * rank, thread()), x[0], x[1], x[2], x[3]);
  }
  cluster_arrive();
  cluster_wait();
  if (thread() < 4) {
    float sum = 0;
    for (int r = 0; r < 4; ++r) sum += parts[4 * r + thread()];
    out[block() * 4 + thread()] = sum;
  }
  cluster_arrive();
  cluster_wait();
}

TEST(Cluster, BlocksExchangeThroughSharedMemory) {
  std::vector<float> in(8 * 16), expected(32);
  std::iota(in.begin(), in.end(), 1.0f);
  for (std::size_t c = 0; c < 2; ++c)
    for (std::size_t owner = 0; owner < 4; ++owner)
      for (std::size_t i = 0; i < 4; ++i)
        for (std::size_t from = 0; from < 4; ++from)
          expected[(c * 4 + owner) * 4 + i] += in[((c * 4 + from) * 4 + owner) * 4 + i];
  for (const RunOptions& options : emulator::all_orders()) {
    std::vector<float> out(32);
    emulator::run({"reduce", 8, 64, 4, 64}, options, [&] { reduce_kernel(in.data(), out.data()); });
    EXPECT_EQ(out, expected) << to_string(options);
  }
}

TEST(Cluster, BrokenUseIsReported) {
  const emulator::Grid grid{"broken", 2, 32, 2, 16};
  EXPECT_NE(error_of(grid, {}, [] { cluster_wait(); }).find("without cluster_arrive()"),
            std::string::npos);
  const auto forgets = [] {
    if (cluster_rank() == 0) cluster_arrive();
    if (cluster_rank() == 0) cluster_wait();
    if (cluster_rank() == 1) sync_some(1, 32), sync_some(2, 32);
  };
  EXPECT_EQ(error_of(grid, {}, forgets), "");  // threads that have ended count as arrived
  const auto one_waits = [] {
    if (cluster_rank() == 0) {
      cluster_arrive();
      cluster_wait();
    } else if (thread() != 0) {
      sync_block();
    }
  };
  const std::string text = error_of(grid, {}, one_waits);
  EXPECT_NE(text.find("block 0: threads 0-31 wait at cluster_wait; block 1: thread 0 have ended; "
                      "threads 1-31 wait at sync_block (31 of 32 threads are there)"),
            std::string::npos)
      << text;
  const auto stores_late = [] {  // block 1 ends while block 0 may still write to it
    if (cluster_rank() == 1) return;
    for (int i = 0; i < 3; ++i) sync_block();
    store_remote(remote_address(shared_memory(), 1), 1, 2);
    cluster_arrive();
  };
  EXPECT_NE(error_of(grid, {Order::reverse, Timing::late, 1}, stores_late).find("has ended"),
            std::string::npos);
  EXPECT_NE(error_of(grid, {}, [] { remote_address(shared_memory(), 2); }).find("rank 2"),
            std::string::npos);
}

// --- barriers and bulk copies

/// A producer warp streams tiles of 64 floats through a ring of 2; others sum them up.
void pipeline_kernel(const float* in, int tiles, float* out, bool waits_for_empty) {
  auto* ring = reinterpret_cast<float*>(shared_memory());  // [2][64]
  auto* full = reinterpret_cast<Barrier*>(ring + 128);
  Barrier* empty = full + 2;
  if (thread() == 0) {
    for (int i = 0; i < 2; ++i) {
      barrier_init(full + i, 1);
      barrier_init(empty + i, 64);
    }
    barrier_init_fence();
  }
  sync_block();
  if (warp() == 0) {
    for (int t = 0; t < tiles && lane() == 0; ++t) {
      const int slot = t % 2, round = t / 2;
      if (waits_for_empty) barrier_wait(empty + slot, (round & 1) ^ 1);
      barrier_expect(full + slot, 256);
      copy_bulk(ring + 64 * slot, in + 64 * t, 256, full + slot);
    }
  } else {
    float sum = 0;
    for (int t = 0; t < tiles; ++t) {
      const int slot = t % 2, round = t / 2;
      barrier_wait(full + slot, round & 1);
      sum += ring[64 * slot + thread() - 32];
      barrier_arrive(empty + slot);
    }
    out[thread() - 32] = sum;
  }
}

TEST(Barriers, PipelineOfBulkCopies) {
  std::vector<Words4> memory(16 * 7);
  auto* in = reinterpret_cast<float*>(memory.data());
  std::vector<float> expected(64);
  for (int i = 0; i < 64 * 7; ++i) {
    in[i] = static_cast<float>(i * i % 101);
    expected[static_cast<std::size_t>(i % 64)] += in[i];
  }
  bool overtaken = false;  // without waiting for empty slots
  for (const RunOptions& options : emulator::all_orders()) {
    std::vector<float> out(64), racy(64);
    const emulator::Grid grid{"pipeline", 1, 96, 1, 512 + 32};
    emulator::run(grid, options, [&] { pipeline_kernel(in, 7, out.data(), true); });
    EXPECT_EQ(out, expected) << to_string(options);
    const std::string error =
        error_of(grid, options, [&] { pipeline_kernel(in, 7, racy.data(), false); });
    overtaken = overtaken || !error.empty() || racy != expected;
  }
  EXPECT_TRUE(overtaken);
}

TEST(Barriers, BrokenUseIsReported) {
  const emulator::Grid grid{"broken", 1, 32, 1, 64};
  alignas(16) static const float source[8] = {};
  const auto barrier = [] { return reinterpret_cast<Barrier*>(shared_memory()); };
  EXPECT_NE(error_of(grid, {}, [&] { barrier_wait(barrier(), 0); }).find("not yet initialised"),
            std::string::npos);
  EXPECT_NE(error_of(grid, {},
                     [&] {
                       barrier_init(barrier(), 33);
                       sync_block();
                       barrier_arrive(barrier());
                       barrier_wait(barrier(), 0);
                     })
                .find("deadlock: block 0: threads 0-31 wait at barrier_wait for parity 0 of the "
                      "barrier at byte 0"),
            std::string::npos);
  const auto copies = [&](int offset, int bytes, bool fence, bool waits) {
    return error_of(grid, {}, [&, offset, bytes, fence, waits] {
      if (thread() != 0) return;
      barrier_init(barrier(), 1);
      if (fence) barrier_init_fence();
      barrier_expect(barrier(), bytes);
      copy_bulk(shared_memory() + offset, source, bytes, barrier());
      if (waits) barrier_wait(barrier(), 0);
    });
  };
  EXPECT_EQ(copies(16, 32, true, true), "");
  EXPECT_NE(copies(16, 32, true, false).find("still under way"), std::string::npos);
  EXPECT_NE(copies(16, 32, false, true).find("barrier_init_fence"), std::string::npos);
  EXPECT_NE(copies(8, 32, true, true).find("not aligned"), std::string::npos);
  EXPECT_NE(copies(16, 24, true, true).find("24 bytes"), std::string::npos);
  EXPECT_NE(copies(48, 32, true, true).find("64 bytes of shared memory"), std::string::npos);
}

/// Two warps write to `out` what the ring brings, one more thread sends the networks.
void ring_kernel(const std::vector<NetShape>& nets, const std::uint32_t* words, int stages,
                 std::uint32_t* out) {
  WeightRing<2> ring(shared_memory(), stages);
  if (warp() == 2) {
    if (lane() > 0) return;
    for (const NetShape& net : nets) {
      ring.send(net, words);
      words += net.words();
    }
    return;
  }
  for (const NetShape& net : nets)
    for (int l = 0; l <= net.layers; ++l)
      for (int g = 0; g < granules(net, l); ++g) {
        const int count = steps_of_granule(net, l, g) * net.n_tiles(l) * 128;
        const auto* granule = reinterpret_cast<const std::uint32_t*>(ring.wait());
        for (int i = thread(); i < count; i += 64) out[i] = granule[i];
        out += count;
        ring.advance();
        sync_warp();
        ring.release();
      }
}

TEST(WeightRing, BringsNetworksInOrder) {
  for (unsigned seed = 1; seed <= 6; ++seed) {
    std::mt19937 random(seed);
    const auto draw = [&](int low, int high) {
      return low + static_cast<int>(random() % static_cast<unsigned>(high - low + 1));
    };
    std::vector<NetShape> nets(static_cast<std::size_t>(draw(1, 3)));
    std::size_t count = 0;
    for (NetShape& net : nets) {
      net = {draw(1, 60), 64 << draw(0, 2), draw(1, 3), draw(1, 40), Operands::edges};
      if (draw(0, 1)) net.operands = Operands::split;
      net.order = WeightOrder::columns;
      count += static_cast<std::size_t>(net.words());
    }
    std::vector<Words4> memory(count / 4);
    auto* words = reinterpret_cast<std::uint32_t*>(memory.data());
    std::iota(words, words + count, seed);
    const int stages = draw(1, 5);
    const emulator::Grid grid{"ring", 1, 96, 1, static_cast<std::size_t>(ring_bytes(stages))};
    for (const RunOptions& options : emulator::all_orders(1)) {
      std::vector<std::uint32_t> out(count);
      EXPECT_EQ(error_of(grid, options, [&] { ring_kernel(nets, words, stages, out.data()); }), "");
      EXPECT_TRUE(std::equal(out.begin(), out.end(), words))
          << "seed " << seed << ", " << stages << " stages, " << to_string(options);
    }
  }
}

// --- products of a warpgroup

TEST(Wgmma, DescriptorFields) {
  const std::uint64_t d = wgmma_descriptor_bits(0x12340, WgmmaLayout::swizzled, 16, 1024);
  EXPECT_EQ(d & 0x3fff, 0x1234u);
  EXPECT_EQ(d >> 16 & 0x3fff, 1u);
  EXPECT_EQ(d >> 32 & 0x3fff, 64u);
  EXPECT_EQ(d >> 49 & 7, 0u);
  EXPECT_EQ(d >> 62, 1u);
  EXPECT_EQ(wgmma_descriptor_bits(0, WgmmaLayout::plain, 128, 128) >> 62, 0u);
}

TEST(Wgmma, TilesHoldEachNumberOnce) {
  for (const int rows : {16, 256}) {
    std::vector<int> plain(static_cast<std::size_t>(rows * 64)), swizzled = plain;
    for (int row = 0; row < rows; ++row)
      for (int k = 0; k < 64; ++k) {
        ++plain[static_cast<std::size_t>(wgmma_plain_byte(rows, row, k) / 2)];
        ++swizzled[static_cast<std::size_t>(wgmma_swizzled_byte(row, k) / 2)];
      }
    EXPECT_EQ(plain, std::vector<int>(plain.size(), 1));
    EXPECT_EQ(swizzled, plain);
  }
}

struct WgmmaCase {
  bool bf16, swizzled, a_shared;
  bool waits = true, fences = true;
};

/// d [64, N] = c + a [64, 128] b [128, N], every number a small multiple of 1/8.
template <int N>
void wgmma_kernel(const WgmmaCase& t, const float* a, const float* b, const float* c, float* d) {
  char* const b_tile = shared_memory();
  char* const a_tile = b_tile + N * 256;
  const auto pack = [&](float x, float y) { return t.bf16 ? pack_bf16(x, y) : pack_f16(x, y); };
  const auto fill = [&](char* tile, int rows, const auto& value) {
    for (int i = thread(); i < rows * 64; i += threads()) {
      const int row = i / 64, k = i % 64 * 2;
      const int byte = t.swizzled ? k / 64 * rows * 128 + wgmma_swizzled_byte(row, k % 64)
                                  : wgmma_plain_byte(rows, row, k);
      *reinterpret_cast<std::uint32_t*>(tile + byte) = pack(value(row, k), value(row, k + 1));
    }
  };
  fill(b_tile, N, [&](int n, int k) { return b[k * N + n]; });
  fill(a_tile, 64, [&](int m, int k) { return a[m * 128 + k]; });
  fence_async();
  sync_block();
  const auto step = [&](char* tile, int rows, int s) {  // 16 numbers along k
    return t.swizzled ? wgmma_swizzled(tile + s / 4 * rows * 128 + s % 4 * 32)
                      : wgmma_plain(tile + s * 32 * rows, rows);
  };
  const int me = thread() % 128;
  float sum[N / 2];
  for (int i = 0; i < N / 2; ++i) {
    const Place p = wgmma_accumulator(me, i);
    sum[i] = c[p.row * N + p.column];
  }
  if (t.fences) wgmma_fence();
  for (int s = 0; s < 8; ++s) {
    std::uint32_t fragment[4];
    for (int i = 0; i < 4; ++i) {
      const Place p = wgmma_a(me, 2 * i);
      fragment[i] =
          pack(a[p.row * 128 + 16 * s + p.column], a[p.row * 128 + 16 * s + p.column + 1]);
    }
    const std::uint64_t bd = step(b_tile, N, s), ad = step(a_tile, 64, s);
    if (t.a_shared)
      t.bf16 ? wgmma_bf16_shared<N>(sum, ad, bd) : wgmma_f16_shared<N>(sum, ad, bd);
    else
      t.bf16 ? wgmma_bf16<N>(sum, fragment, bd) : wgmma_f16<N>(sum, fragment, bd);
  }
  wgmma_commit();
  if (t.waits) wgmma_wait<0>();
  wgmma_hold(sum);
  if (thread() < 128)
    for (int i = 0; i < N / 2; ++i) {
      const Place p = wgmma_accumulator(me, i);
      d[p.row * N + p.column] = sum[i];
    }
  wgmma_wait<0>();
}

struct Problem {
  std::vector<float> a, b, c, expected;
  explicit Problem(int n) {
    std::mt19937 random(5);
    const auto fill = [&](std::vector<float>& values, int count) {
      for (int i = 0; i < count; ++i)
        values.push_back(static_cast<float>(static_cast<int>(random() % 33) - 16) / 8);
    };
    fill(a, 64 * 128);
    fill(b, 128 * n);
    fill(c, 64 * n);
    expected = c;
    for (int m = 0; m < 64; ++m)
      for (int k = 0; k < 128; ++k)
        for (int j = 0; j < n; ++j)
          expected[static_cast<std::size_t>(m * n + j)] +=
              a[static_cast<std::size_t>(m * 128 + k)] * b[static_cast<std::size_t>(k * n + j)];
  }
};

template <int N>
std::string run_wgmma(const WgmmaCase& t, const Problem& p, const RunOptions& options,
                      std::vector<float>& d, int threads = 256) {
  d.assign(64 * N, 0.0f);
  return error_of({"wgmma", 1, threads, 1, N * 256 + 64 * 256}, options,
                  [&] { wgmma_kernel<N>(t, p.a.data(), p.b.data(), p.c.data(), d.data()); });
}

template <int N>
void expect_products() {
  const Problem p(N);
  std::vector<float> d;
  for (const RunOptions& options : emulator::all_orders(1))
    for (const bool bf16 : {false, true})
      for (const bool swizzled : {false, true})
        for (const bool a_shared : {false, true}) {
          EXPECT_EQ(run_wgmma<N>({bf16, swizzled, a_shared}, p, options, d), "");
          EXPECT_EQ(d, p.expected) << N << bf16 << swizzled << a_shared << to_string(options);
        }
}

TEST(Wgmma, ProductsOfAllShapesEqualNaiveOnes) {
  expect_products<16>();
  expect_products<32>();
  expect_products<64>();
  expect_products<128>();
  expect_products<256>();
}

TEST(Wgmma, BrokenUseIsReported) {
  const Problem p(16);
  std::vector<float> d;
  EXPECT_EQ(run_wgmma<16>({false, true, false, false}, p, {}, d), "");
  EXPECT_EQ(d, p.c);  // read before the wait: the products are not there
  EXPECT_NE(run_wgmma<16>({false, true, false, true, false}, p, {}, d).find("without wgmma_fence"),
            std::string::npos);
  EXPECT_NE(run_wgmma<16>({false, true, false}, p, {}, d, 64).find("four warps"),
            std::string::npos);
  const emulator::Grid grid{"broken", 1, 128, 1, 4096};
  const auto call = [](int warps, int shift, bool waits) {
    return [=] {
      float sum[8] = {};
      const std::uint32_t a[4] = {};
      if (warp() >= warps) return;
      wgmma_fence();
      wgmma_f16<16>(sum, a, wgmma_plain(shared_memory() + (warp() == 2 ? shift : 0), 16));
      wgmma_commit();
      if (waits) wgmma_wait<0>();
    };
  };
  EXPECT_EQ(error_of(grid, {}, call(4, 0, true)), "");
  EXPECT_NE(error_of(grid, {}, call(3, 0, true)).find("called wgmma 0 times"), std::string::npos);
  EXPECT_NE(error_of(grid, {}, call(4, 16, true)).find("differs from what another warp"),
            std::string::npos);
  EXPECT_NE(error_of(grid, {}, call(4, 0, false)).find("without waiting for its wgmma"),
            std::string::npos);
  EXPECT_NE(error_of({"small", 1, 128, 1, 500}, {}, call(4, 0, true)).find("of 500 bytes"),
            std::string::npos);
}

}  // namespace
}  // namespace softmpc::cuda
