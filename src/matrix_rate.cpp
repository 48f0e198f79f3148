// SPDX-License-Identifier: Apache-2.0
// Plain products by the dense kernels.
#include "matrix_rate.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <vector>

#include "cpu/aligned.h"
#include "cpu/kernels.h"
#include "softmpc/hd/bf16.h"
#include "softmpc/thread_pool.h"

namespace softmpc {
namespace {

constexpr int kSize = 256;              // inputs and outputs
constexpr int kWide = 3 * cpu::kLanes;  // a planner's tile
constexpr double kFlops = 2.0 * kSize * kSize * kWide;

/// What one thread multiplies: W, x and y of the precision.
struct Block {
  cpu::AlignedFloats weight, bias, x, y;
  std::vector<cpu::Bf16Pair, cpu::CacheLineAllocator<cpu::Bf16Pair>> pairs, narrow;
};

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

struct MatrixRate::Impl {
  ThreadPool& pool;
  Precision precision;
  std::vector<Block> blocks;
  double rate = 0;  // products per second and thread, from the last measurement

  /// One product of the precision.
  void multiply(Block& block) const {
    const cpu::PackedLayer layer = {.weight = block.weight.data(),
                                    .bias = block.bias.data(),
                                    .pairs = block.pairs.data(),
                                    .in = kSize,
                                    .out = kSize,
                                    .activation = Activation::none};
    const auto& kernels = cpu::kernels();
    if (precision == Precision::bfloat16)
      kernels.dense_bf16(layer, block.narrow.data(), kWide, block.y.data(), nullptr, kWide, kWide);
    else
      kernels.dense(layer, block.x.data(), kWide, block.y.data(), kWide, kWide);
  }

  /// Seconds that all threads take for `products` products each.
  double run(int products) {
    const auto task = [&](int index, int) {
      for (int i = 0; i < products; ++i) multiply(blocks[static_cast<std::size_t>(index)]);
    };
    const auto begin = std::chrono::steady_clock::now();
    pool.run(pool.threads(), std::cref(task));
    return seconds_since(begin);
  }
};

MatrixRate::MatrixRate(ThreadPool& pool, Precision precision)
    : impl_(new Impl{pool, precision, {}, 0}) {
  impl_->blocks.resize(static_cast<std::size_t>(pool.threads()));
  for (Block& block : impl_->blocks) {
    block.weight.resize(static_cast<std::size_t>(kSize) * kSize);
    block.bias.resize(kSize);
    block.x.resize(static_cast<std::size_t>(kSize) * kWide);
    block.y.resize(static_cast<std::size_t>(kSize) * kWide);
    const auto fill = [](cpu::AlignedFloats& values, float step) {
      for (std::size_t i = 0; i < values.size(); ++i)
        values[i] = std::sin(step * static_cast<float>(i)) / 16;
    };
    fill(block.weight, 0.7f);
    fill(block.x, 1.3f);
    // any order will do: only the time counts
    const auto round = [](const cpu::AlignedFloats& from, auto& to) {
      to.resize(from.size() / 2);
      for (std::size_t i = 0; i < to.size(); ++i)
        to[i] = hd::pair_bf16(from[2 * i], from[2 * i + 1]);
    };
    round(block.weight, block.pairs);
    round(block.x, block.narrow);
  }
}

MatrixRate::~MatrixRate() = default;

double MatrixRate::measure(double seconds) {
  Impl& m = *impl_;
  if (m.rate == 0) m.rate = 20 / m.run(20);
  const int products = std::clamp(static_cast<int>(seconds * m.rate), 1, 1 << 24);
  m.rate = products / m.run(products);
  return m.rate * kFlops * m.pool.threads() * 1e-9;
}

}  // namespace softmpc
