// SPDX-License-Identifier: Apache-2.0
// Forward, loss, backward and Adam of a stack of networks in double precision, written plainly.
#pragma once

#include <cmath>
#include <functional>
#include <vector>

#include "softmpc/hd/losses.h"

namespace softmpc::cuda::testing {

using Doubles = std::vector<double>;

/// One network: per layer weight [out, in], bias [out], flat as on the device.
struct OracleNet {
  std::vector<int> sizes;
  Doubles parameters, mean, variance;

  int layers() const { return static_cast<int>(sizes.size()) - 1; }
  std::size_t first(int l) const {
    std::size_t at = 0;
    for (int i = 0; i < l; ++i) at += static_cast<std::size_t>(sizes[i + 1]) * (sizes[i] + 1);
    return at;
  }
  double weight(int l, int o, int i) const {
    return parameters[first(l) + static_cast<std::size_t>(o) * sizes[l] + i];
  }
  double bias(int l, int o) const {
    return parameters[first(l) + static_cast<std::size_t>(sizes[l + 1]) * sizes[l] + o];
  }

  /// Pre-activations of every layer for one input.
  std::vector<Doubles> forward(Doubles h) const {
    std::vector<Doubles> all;
    for (int l = 0; l < layers(); ++l) {
      Doubles z(sizes[l + 1]);
      for (int o = 0; o < sizes[l + 1]; ++o) {
        z[o] = bias(l, o);
        for (int i = 0; i < sizes[l]; ++i) z[o] += weight(l, o, i) * h[i];
      }
      all.push_back(z);
      h = z;
      for (double& v : h) v = v / (1 + std::exp(-v));
    }
    return all;
  }

  /// Adds one row's gradient from dL/dy.
  void backward(const Doubles& x, const std::vector<Doubles>& z, Doubles dz, Doubles& g) const {
    for (int l = layers() - 1; l >= 0; --l) {
      Doubles h = l == 0 ? x : z[l - 1], dh(sizes[l]);
      if (l > 0)
        for (double& v : h) v = v / (1 + std::exp(-v));
      for (int o = 0; o < sizes[l + 1]; ++o) {
        for (int i = 0; i < sizes[l]; ++i) {
          g[first(l) + static_cast<std::size_t>(o) * sizes[l] + i] += dz[o] * h[i];
          dh[i] += dz[o] * weight(l, o, i);
        }
        g[first(l) + static_cast<std::size_t>(sizes[l + 1]) * sizes[l] + o] += dz[o];
      }
      if (l == 0) return;
      for (int i = 0; i < sizes[l]; ++i) {
        const double s = 1 / (1 + std::exp(-z[l - 1][i]));
        dh[i] *= s * (1 + z[l - 1][i] * (1 - s));
      }
      dz = dh;
    }
  }

  void adam(const Doubles& g, double rate, int t) {
    for (std::size_t i = 0; i < g.size(); ++i) {
      mean[i] = 0.9 * mean[i] + 0.1 * g[i];
      variance[i] = 0.999 * variance[i] + 0.001 * g[i] * g[i];
      parameters[i] -= rate / (1 - std::pow(0.9, t)) * mean[i] /
                       (std::sqrt(variance[i] / (1 - std::pow(0.999, t))) + 1e-8);
    }
  }
};

}  // namespace softmpc::cuda::testing
