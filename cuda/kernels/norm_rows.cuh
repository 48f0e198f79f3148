// SPDX-License-Identifier: Apache-2.0
// LayerNorm over the units of one layer, a block a chunk of rows: a lane a row, a warp every eighth
// unit, so that its sums over all units go through the block's memory once each.
#pragma once

#include "intrinsics.h"
#include "softmpc/hd/layer_norm.h"
#include "softmpc/hd/math.h"
#include "train_job.h"
#include "train_memory.h"

namespace softmpc::cuda {

class NormRows {
 public:
  static_assert(kTrainRows == 32, "a lane a row");

  /// z: the units of the thread's row, `stride` apart; scale and shift [width].
  SOFTMPC_DEVICE NormRows(float* z, int stride, int width, const float* scale, const float* shift)
      : z_(z),
        stride_(static_cast<std::size_t>(stride)),
        width_(width),
        scale_(scale),
        shift_(shift),
        scratch_(reinterpret_cast<TrainMemory*>(shared_memory())->partial) {}

  // z = c; calls each(unit, n) with n = g c + s, and returns the row's rate r
  template <class Each>
  SOFTMPC_DEVICE float forward(const Each& each) const {
    const float mean = mean_of([&](int u) { return z_[at(u)]; });
    const float variance = mean_of([&](int u) {
      const float from_mean = z_[at(u)] - mean;
      return from_mean * from_mean;
    });
    const float rate = hd::layer_norm_rate(variance);
    each_unit([&](int u) {
      const float c = (z_[at(u)] - mean) * rate;
      z_[at(u)] = c;
      each(u, hd::layer_norm(c, scale_[u], shift_[u]));
    });
    return rate;
  }

  /// From dL/dh of h = silu(n), in dz beside z, to dL/dz; calls each(unit, c, dL/dn).
  template <class Each>
  SOFTMPC_DEVICE void backward(float* dz, float rate, const Each& each) const {
    each_unit([&](int u) {
      const float c = z_[at(u)];
      const float dn = dz[at(u)] * hd::silu_derivative(hd::layer_norm(c, scale_[u], shift_[u]));
      dz[at(u)] = dn;
      each(u, c, dn);
    });
    const float mean_d = mean_of([&](int u) { return scale_[u] * dz[at(u)]; });
    const float mean_dc = mean_of([&](int u) { return scale_[u] * dz[at(u)] * z_[at(u)]; });
    each_unit([&](int u) {
      dz[at(u)] = hd::layer_norm_backward(scale_[u] * dz[at(u)], z_[at(u)], rate, mean_d, mean_dc);
    });
  }

 private:
  SOFTMPC_DEVICE std::size_t at(int unit) const { return static_cast<std::size_t>(unit) * stride_; }

  template <class F>
  SOFTMPC_DEVICE void each_unit(const F& f) const {
#pragma unroll 4
    for (int u = warp(); u < width_; u += kTrainWarps) f(u);
  }

  /// Mean of f(unit) over the units of the thread's row.
  template <class F>
  SOFTMPC_DEVICE float mean_of(const F& f) const {
    float sum = 0;
    each_unit([&](int u) { sum += f(u); });
    sync_block();  // the sums before have been read
    scratch_[warp() * kTrainRows + lane()] = sum;
    sync_block();
    float total = scratch_[lane()];
#pragma unroll
    for (int w = 1; w < kTrainWarps; ++w) total += scratch_[w * kTrainRows + lane()];
    return total / static_cast<float>(width_);
  }

  float* const z_;
  const std::size_t stride_;
  const int width_;
  const float *const scale_, *const shift_;
  float* const scratch_;  // [warps, rows]
};

}  // namespace softmpc::cuda
