// SPDX-License-Identifier: Apache-2.0
// LayerNorm over the rows of a block: passes of their own, so that layers without it pay nothing.
// Included behind kernels_train_impl.h by the same translation units.
#pragma once

#include "cpu/kernels_train_impl.h"
#include "softmpc/hd/layer_norm.h"

namespace softmpc::cpu {
namespace {

/// m and r of the units of kLanes lanes.
struct Moments {
  float mean[kLanes], rate[kLanes];
};

/// sum[j] = sum over units u of f(u, j), in the order of the units.
template <class F>
SOFTMPC_HD void sum_units(int units, float (&sum)[kLanes], const F& f) {
  for (float& s : sum) s = 0;
  for (int u = 0; u < units; ++u)
#pragma GCC ivdep
    for (int j = 0; j < kLanes; ++j) sum[j] += f(u, j);
}

SOFTMPC_HD Moments moments(const float* z, int units, int stride) {
  Moments m;
  const float share = 1.0f / static_cast<float>(units);
  sum_units(units, m.mean, [&](int u, int j) { return z[static_cast<Long>(u) * stride + j]; });
  for (float& mean : m.mean) mean *= share;
  sum_units(units, m.rate, [&](int u, int j) {
    const float from_mean = z[static_cast<Long>(u) * stride + j] - m.mean[j];
    return from_mean * from_mean;
  });
  for (float& rate : m.rate) rate = hd::layer_norm_rate(rate * share);
  return m;
}

void layer_norm(const NormLayer& layer, const float* z, float* y, int stride, int lanes) {
  for (int lane = 0; lane < lanes; lane += kLanes) {
    const Moments m = moments(z + lane, layer.units, stride);
    for (int u = 0; u < layer.units; ++u) {
      const float* from = z + static_cast<Long>(u) * stride + lane;
      float* to = y + static_cast<Long>(u) * stride + lane;
#pragma GCC ivdep
      for (int j = 0; j < kLanes; ++j)
        to[j] = hd::layer_norm((from[j] - m.mean[j]) * m.rate[j], layer.scale[u], layer.shift[u]);
      activate(layer.activation, to, kLanes);
    }
  }
}

/// dL/dn to dL/dz of kLanes lanes in place; adds to the gradients of scale and shift.
SOFTMPC_HD void norm_backward_lanes(const NormDescentJob& job, int lane, float* scale_gradient,
                                    float* shift_gradient) {
  const float* z = job.z + lane;
  float* d = job.d + lane;
  const Moments m = moments(z, job.units, job.lanes);
  const auto at = [&](int u, int j) { return static_cast<Long>(u) * job.lanes + j; };
  const auto centred = [&](int u, int j) { return (z[at(u, j)] - m.mean[j]) * m.rate[j]; };
  float mean_d[kLanes], mean_dc[kLanes];
  sum_units(job.units, mean_d, [&](int u, int j) { return job.scale[u] * d[at(u, j)]; });
  sum_units(job.units, mean_dc,
            [&](int u, int j) { return job.scale[u] * d[at(u, j)] * centred(u, j); });
  const float share = 1.0f / static_cast<float>(job.units);
  for (int j = 0; j < kLanes; ++j) mean_d[j] *= share, mean_dc[j] *= share;
  for (int u = 0; u < job.units; ++u) {
    for (int j = 0; j < kLanes; ++j) {
      scale_gradient[u] += d[at(u, j)] * centred(u, j);
      shift_gradient[u] += d[at(u, j)];
    }
#pragma GCC ivdep
    for (int j = 0; j < kLanes; ++j)
      d[at(u, j)] = hd::layer_norm_backward(job.scale[u] * d[at(u, j)], centred(u, j), m.rate[j],
                                            mean_d[j], mean_dc[j]);
  }
}

void layer_norm_backward(const NormDescentJob& job) {
  const int rows = groups_of(job.units) * kGroup;
  float *scale_gradient = job.gradient, *shift_gradient = job.gradient + rows;
  for (int i = 0; i < 2 * rows; ++i) job.gradient[i] = 0;
  for (int lane = 0; lane < job.lanes; lane += kLanes)
    norm_backward_lanes(job, lane, scale_gradient, shift_gradient);
  if (job.next) adam(job, 0, job.gradient, 2 * rows);
}

}  // namespace
}  // namespace softmpc::cpu
