// SPDX-License-Identifier: Apache-2.0
#include "emulator/wgmma.h"

#include <algorithm>

#include "emulator/products.h"
#include "emulator/rules.h"
#include "kernels/fragments.h"

namespace softmpc::cuda {
namespace emulator {
namespace {

/// The 16 bytes that hold numbers k = 8 chunk to 8 chunk + 7 of `row` of an operand.
const std::uint16_t* operand_row(const Block& block, std::uint64_t descriptor, int row, int chunk) {
  const auto field = [&](int first) {
    return static_cast<std::uint32_t>(descriptor >> first & 0x3fffu) << 4;
  };
  const std::uint32_t start = field(0), leading = field(16), stride = field(32);
  const auto upper = static_cast<std::uint32_t>(row / 8),
             lower = static_cast<std::uint32_t>(row % 8);
  const auto part = static_cast<std::uint32_t>(chunk);
  const std::uint32_t swizzle = static_cast<std::uint32_t>(descriptor >> 62);
  if (swizzle > 1) fail("wgmma: the emulator knows descriptors without or with 128-byte swizzle");
  if ((descriptor >> 49 & 7u) != 0) fail("wgmma: a descriptor with a base offset");
  std::uint32_t byte = start + upper * stride;
  if (swizzle == 1) {
    if ((start & 0x380u) != 0 || stride % 1024 != 0)
      fail("wgmma: a swizzled tile begins, and its rows advance, at multiples of 1,024 bytes");
    byte += lower * 128 + part * 16;
    byte ^= (byte >> 7 & 7u) << 4;
  } else {
    byte += lower * 16 + part * leading;
  }
  const char* pointer = block.shared + (static_cast<std::int64_t>(byte) - kSharedBase);
  if (byte < kSharedBase || !block.owns(pointer, 16))
    fail("wgmma: descriptor names byte " +
         std::to_string(static_cast<std::int64_t>(byte) - kSharedBase) + " of " +
         std::to_string(block.shared_bytes) + " bytes of shared memory (row " +
         std::to_string(row) + ", k " + std::to_string(8 * chunk) + ")");
  return reinterpret_cast<const std::uint16_t*>(pointer);
}

void read_operands(const Warp& warp, const WarpgroupProduct& product, WideProduct& wide) {
  const Block& block = *warp.block;
  for (int lane = 0; lane < 32 && !product.a_shared; ++lane)
    for (int i = 0; i < 8; ++i) {
      const Place place = wgmma_a(lane, i);
      wide.a[place.column][place.row] =
          static_cast<std::uint16_t>(product.a[lane][i / 2] >> (16 * (i % 2)));
    }
  for (int chunk = 0; chunk < 2; ++chunk) {
    for (int row = 0; row < 16 && product.a_shared; ++row) {
      const std::uint16_t* from =
          operand_row(block, product.a_descriptor, 16 * (warp.index % 4) + row, chunk);
      for (int k = 0; k < 8; ++k) wide.a[8 * chunk + k][row] = from[k];
    }
    for (int column = 0; column < product.n; ++column)
      std::memcpy(&wide.b[column][8 * chunk],
                  operand_row(block, product.b_descriptor, column, chunk), 16);
  }
}

void perform(const Warp& warp, const WarpgroupProduct& product) {
  static thread_local WideProduct wide;
  read_operands(warp, product, wide);
  const int registers = product.n / 2;
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < registers; ++i) {
      const Place place = wgmma_accumulator(lane, i);
      wide.d[place.column][place.row] = product.accumulate ? product.d[lane][i] : 0.0f;
    }
  product.bf16 ? multiply_wide_bf16(wide, product.n) : multiply_wide_f16(wide, product.n);
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < registers; ++i) {
      const Place place = wgmma_accumulator(lane, i);
      product.d[lane][i] = wide.d[place.column][place.row];
    }
}

void perform_first(Warp& warp, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) perform(warp, warp.products[i]);
  warp.products.erase(warp.products.begin(), warp.products.begin() + static_cast<int>(count));
  for (std::size_t& end : warp.product_groups) end -= std::min(end, count);
}

/// All warps of a warpgroup call the same products in the same order.
void compare_with_warpgroup(Warp& warp, std::uint64_t call) {
  auto& calls = warp.block->warpgroup_calls[static_cast<std::size_t>(warp.index / 4)];
  if (warp.issued == calls.size()) calls.push_back(call);
  if (calls[warp.issued] != call)
    fail("wgmma number " + std::to_string(warp.issued) +
         " differs from what another warp of the warpgroup called (shape, numbers or descriptors)");
  ++warp.issued;
}

}  // namespace

void wgmma(bool bf16, bool accumulate, int n, float* d, const std::uint32_t* a,
           std::uint64_t a_descriptor, std::uint64_t b_descriptor) {
  Warp& warp = *current->warp;
  if (machine->grid().threads < warp.index / 4 * 128 + 128)
    fail("wgmma: a warpgroup is four warps, the block ends before");
  const int lane = current->lane;
  WarpgroupProduct& issue = warp.issue;
  issue.d[lane] = d;
  for (int i = 0; i < 4 && a != nullptr; ++i) issue.a[lane][i] = a[i];
  const std::uint64_t kind = static_cast<std::uint64_t>(n) * 8 + (bf16 ? 4 : 0) +
                             (accumulate ? 2 : 0) + (a == nullptr ? 1 : 0);
  const std::uint64_t call = (b_descriptor * 31 + a_descriptor) * 0x9e3779b97f4a7c15u + kind;
  meet(Meeting::wgmma, call, [&] {
    if (!warp.fenced) fail("wgmma without wgmma_fence() since the last wgmma_wait()");
    compare_with_warpgroup(warp, call);
    issue.bf16 = bf16;
    issue.accumulate = accumulate;
    issue.a_shared = a == nullptr;
    issue.n = n;
    issue.a_descriptor = a_descriptor;
    issue.b_descriptor = b_descriptor;
    warp.products.push_back(issue);
    if (machine->now()) perform_first(warp, warp.products.size());
  });
}

void wgmma_wait(int pending) {
  Warp& warp = *current->warp;
  meet(Meeting::wgmma_wait, static_cast<std::uint64_t>(pending), [&] {
    auto& ends = warp.product_groups;
    const std::size_t kept = std::min(ends.size(), static_cast<std::size_t>(pending));
    const std::size_t groups = ends.size() - kept;
    if (groups > 0) perform_first(warp, ends[groups - 1]);
    ends.erase(ends.begin(), ends.begin() + static_cast<int>(groups));
    warp.fenced = false;
  });
}

void set_registers(int count) {
  meet(Meeting::set_registers, static_cast<std::uint64_t>(count), [] {});
}

}  // namespace emulator

void wgmma_fence() {
  emulator::meet(emulator::Meeting::wgmma_fence, 0, [] { emulator::current->warp->fenced = true; });
}

void wgmma_commit() {
  emulator::Warp& warp = *emulator::current->warp;
  emulator::meet(emulator::Meeting::wgmma_commit, 0,
                 [&] { warp.product_groups.push_back(warp.products.size()); });
}

}  // namespace softmpc::cuda
