// SPDX-License-Identifier: Apache-2.0
// Products of training: float32, a block of 256 threads, sums in an order that depends on shapes
// alone. A tile holds kTrainTile components by kTrainRows rows, a slice kTrainSlice components.
#pragma once

#include "intrinsics.h"
#include "softmpc/hd/math.h"
#include "train_memory.h"

namespace softmpc::cuda {

/// The stack that a block belongs to.
SOFTMPC_DEVICE int stack_of_block(const TrainJob& job) {
  return block() >= job.first_block[1] ? 1 : 0;
}

struct alignas(16) Floats4 {
  float x, y, z, w;
};

/// store(i, load(i)) for i < count, spread over the block. Loads of `batch` elements are issued
/// before their stores: memory may alias for all that the compiler knows, and would be waited for
/// one by one.
template <class Value, int batch, class Load, class Store>
SOFTMPC_DEVICE void each_batched(int count, const Load& load, const Store& store) {
  for (int first = thread(); first < count; first += batch * kTrainThreads) {
    Value value[batch] = {};
#pragma unroll
    for (int j = 0; j < batch; ++j)
      if (first + j * kTrainThreads < count) value[j] = load(first + j * kTrainThreads);
#pragma unroll
    for (int j = 0; j < batch; ++j)
      if (first + j * kTrainThreads < count) store(first + j * kTrainThreads, value[j]);
  }
}

/// Starts to copy components [0, count) of columns [component, R], rows of `chunk`, to a tile or
/// slice. arrived() waits.
SOFTMPC_DEVICE void load_columns(const float* from, int stride, int count, int chunk, float* to) {
  constexpr int kQuads = kTrainRows / 4;
  const float* first = from + static_cast<std::size_t>(chunk) * kTrainRows;
  for (int i = thread(); i < count * kQuads; i += kTrainThreads) {
    const int c = i / kQuads, r = 4 * (i % kQuads);
    copy_async(to + c * kRowStride + r, first + static_cast<std::size_t>(c) * stride + r);
  }
}
SOFTMPC_DEVICE void arrived() {
  copy_commit();
  copy_wait<0>();
  sync_block();
}

/// Weights [units, in] of the slice's units from `unit0` on, inputs from k0 on, turned to
/// [input][unit].
SOFTMPC_DEVICE void load_turned(const float* weight, int in, int units, int unit0, int k0,
                                int count, float* to) {
  // a warp: 8 inputs by 4 units
  const auto unit = [](int i) { return i / 8 % kTrainSlice; };
  const auto input = [](int i) { return i % 8 + i / (8 * kTrainSlice) * 8; };
  each_batched<float, 16>(
      parts_of(count, 8) * 8 * kTrainSlice,
      [&](int i) {
        const int u = unit0 + unit(i), k = input(i);
        return u < units && k < count ? weight[static_cast<std::size_t>(u) * in + k0 + k] : 0.0f;
      },
      [&](int i, float w) { to[input(i) * kSliceStride + unit(i)] = w; });
}

/// Weights [outputs, in] of outputs from o0 on, the slice's inputs from `unit0` on: [output][unit].
SOFTMPC_DEVICE void load_straight(const float* weight, int in, int unit0, int o0, int count,
                                  float* to) {
  each_batched<float, 16>(
      count * kTrainSlice,
      [&](int i) {
        const int u = unit0 + i % kTrainSlice;
        const std::size_t o = o0 + i / kTrainSlice;
        return u < in ? weight[o * in + u] : 0.0f;
      },
      [&](int i, float w) { to[i / kTrainSlice * kSliceStride + i % kTrainSlice] = w; });
}

/// [slice, rows] += weight' tile over `count` components; each warp takes every eighth, each lane 4
/// units by 4 rows.
SOFTMPC_DEVICE void accumulate(const TrainMemory& m, int count, float (&sum)[4][4]) {
  const float* rows = m.rows + 4 * (lane() % 8);
  const float* weight = m.weight + 4 * (lane() / 8);
#pragma unroll 4
  for (int k = warp(); k < count; k += kTrainWarps) {
    const Floats4 a = *reinterpret_cast<const Floats4*>(rows + k * kRowStride);
    const Floats4 b = *reinterpret_cast<const Floats4*>(weight + k * kSliceStride);
    const float x[4] = {a.x, a.y, a.z, a.w}, w[4] = {b.x, b.y, b.z, b.w};
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int j = 0; j < 4; ++j) sum[i][j] = hd::fma(w[i], x[j], sum[i][j]);
  }
}

/// Joins the warps' sums: store(unit, row, value(unit, row, sum)) for all of the slice.
template <class Value, class Store>
SOFTMPC_DEVICE void reduce(TrainMemory& m, const float (&sum)[4][4], const Value& value,
                           const Store& store) {
  constexpr int kSize = kTrainSlice * kTrainRows;
  float* own = m.partial + warp() * kSize + 4 * (lane() / 8) * kTrainRows + 4 * (lane() % 8);
#pragma unroll
  for (int i = 0; i < 4; ++i)
    *reinterpret_cast<Floats4*>(own + i * kTrainRows) = {sum[i][0], sum[i][1], sum[i][2],
                                                         sum[i][3]};
  sync_block();
  each_batched<float, kSize / kTrainThreads>(
      kSize,
      [&](int i) {
        float total = m.partial[i];
#pragma unroll
        for (int w = 1; w < kTrainWarps; ++w) total += m.partial[w * kSize + i];
        return value(i / kTrainRows, i % kTrainRows, total);
      },
      [&](int i, float v) { store(i / kTrainRows, i % kTrainRows, v); });
}

// Which elements of [tile component, slice unit] a thread has in its 4 by 4 sums.
SOFTMPC_DEVICE int own_component(int i) { return thread() / 4 + kTrainTile / 4 * i; }
SOFTMPC_DEVICE int own_unit(int j) { return thread() % 4 + kTrainSlice / 4 * j; }

/// [tile, slice] += sum over rows of tile[component][row] slice[unit][row].
SOFTMPC_DEVICE void outer_product(const TrainMemory& m, float (&sum)[4][4]) {
  const float* tile = m.rows + own_component(0) * kRowStride;
  const float* slice = m.slice + own_unit(0) * kRowStride;
#pragma unroll 2
  for (int r = 0; r < kTrainRows; r += 4) {
    Floats4 a[4], b[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      a[i] = *reinterpret_cast<const Floats4*>(tile + kTrainTile / 4 * i * kRowStride + r);
      b[i] = *reinterpret_cast<const Floats4*>(slice + kTrainSlice / 4 * i * kRowStride + r);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        float s = sum[i][j];
        s = hd::fma(a[i].x, b[j].x, s);
        s = hd::fma(a[i].y, b[j].y, s);
        s = hd::fma(a[i].z, b[j].z, s);
        sum[i][j] = hd::fma(a[i].w, b[j].w, s);
      }
  }
}

/// Sum over the rows of one component of a tile or slice.
SOFTMPC_DEVICE float sum_rows(const float* component) {
  float sum = 0;
  for (int r = 0; r < kTrainRows; ++r) sum += component[r];
  return sum;
}

/// Sum over the block of one double a thread, by a fixed tree in `scratch` [threads]; thread 0's
/// result counts.
SOFTMPC_DEVICE double sum_block(double value, double* scratch) {
  scratch[thread()] = value;
  sync_block();
  for (int half = kTrainThreads / 2; half > 0; half /= 2) {
    if (thread() < half) scratch[thread()] += scratch[thread() + half];
    sync_block();
  }
  const double sum = scratch[0];
  sync_block();
  return sum;
}

}  // namespace softmpc::cuda
