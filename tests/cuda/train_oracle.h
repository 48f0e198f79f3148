// SPDX-License-Identifier: Apache-2.0
// Forward, loss, backward and Adam of a stack of networks in double precision, written plainly.
#pragma once

#include <cmath>
#include <functional>
#include <vector>

#include "softmpc/hd/losses.h"

namespace softmpc::cuda::testing {

using Doubles = std::vector<double>;

/// One network: per layer weight [out, in], bias [out], with LayerNorm scale and shift [out] of
/// hidden layers, flat as on the device.
struct OracleNet {
  std::vector<int> sizes;
  bool layer_norm;
  Doubles parameters, mean, variance;

  int layers() const { return static_cast<int>(sizes.size()) - 1; }
  std::size_t first(int l) const {
    std::size_t at = 0;
    for (int i = 0; i < l; ++i)
      at += static_cast<std::size_t>(sizes[i + 1]) * (sizes[i] + 1 + (normalises(i) ? 2 : 0));
    return at;
  }
  bool normalises(int l) const { return layer_norm && l + 1 < layers(); }
  /// Where scale or shift (1) of unit o lies.
  std::size_t norm(int l, int shift, int o) const {
    return first(l) + static_cast<std::size_t>(sizes[l + 1]) * (sizes[l] + 1 + shift) + o;
  }
  double weight(int l, int o, int i) const {
    return parameters[first(l) + static_cast<std::size_t>(o) * sizes[l] + i];
  }
  double bias(int l, int o) const {
    return parameters[first(l) + static_cast<std::size_t>(sizes[l + 1]) * sizes[l] + o];
  }

  /// c of LayerNorm from the sums z of a layer, and its rate.
  static Doubles centred(const Doubles& z, double& rate) {
    const double units = static_cast<double>(z.size());
    double mean = 0, variance = 0;
    for (double v : z) mean += v / units;
    for (double v : z) variance += (v - mean) * (v - mean) / units;
    rate = 1 / std::sqrt(variance + 1e-5);
    Doubles c;
    for (double v : z) c.push_back((v - mean) * rate);
    return c;
  }
  /// What SiLU of hidden layer l is taken of.
  Doubles activated(int l, const Doubles& z) const {
    if (!normalises(l)) return z;
    double rate;
    Doubles n = centred(z, rate);
    for (int o = 0; o < sizes[l + 1]; ++o)
      n[o] = parameters[norm(l, 0, o)] * n[o] + parameters[norm(l, 1, o)];
    return n;
  }
  Doubles hidden(int l, const Doubles& z) const {
    Doubles h = activated(l, z);
    for (double& v : h) v = v / (1 + std::exp(-v));
    return h;
  }

  /// Sums z of every layer for one input.
  std::vector<Doubles> forward(Doubles h) const {
    std::vector<Doubles> all;
    for (int l = 0; l < layers(); ++l) {
      Doubles z(sizes[l + 1]);
      for (int o = 0; o < sizes[l + 1]; ++o) {
        z[o] = bias(l, o);
        for (int i = 0; i < sizes[l]; ++i) z[o] += weight(l, o, i) * h[i];
      }
      all.push_back(z);
      h = hidden(l, z);
    }
    return all;
  }

  /// Adds one row's gradient from dL/dy.
  void backward(const Doubles& x, const std::vector<Doubles>& z, Doubles dz, Doubles& g) const {
    for (int l = layers() - 1; l >= 0; --l) {
      const Doubles h = l == 0 ? x : hidden(l - 1, z[l - 1]);
      Doubles dh(sizes[l]);
      for (int o = 0; o < sizes[l + 1]; ++o) {
        for (int i = 0; i < sizes[l]; ++i) {
          g[first(l) + static_cast<std::size_t>(o) * sizes[l] + i] += dz[o] * h[i];
          dh[i] += dz[o] * weight(l, o, i);
        }
        g[first(l) + static_cast<std::size_t>(sizes[l + 1]) * sizes[l] + o] += dz[o];
      }
      if (l == 0) return;
      const Doubles n = activated(l - 1, z[l - 1]);
      for (int i = 0; i < sizes[l]; ++i) {
        const double s = 1 / (1 + std::exp(-n[i]));
        dh[i] *= s * (1 + n[i] * (1 - s));
      }
      dz = normalises(l - 1) ? norm_backward(l - 1, z[l - 1], dh, g) : dh;
    }
  }

  /// dL/dz from dL/dn of layer l; adds the gradients of scale and shift.
  Doubles norm_backward(int l, const Doubles& z, const Doubles& dn, Doubles& g) const {
    double rate, mean_d = 0, mean_dc = 0;
    const Doubles c = centred(z, rate);
    Doubles d;
    for (int o = 0; o < sizes[l + 1]; ++o) {
      g[norm(l, 0, o)] += dn[o] * c[o];
      g[norm(l, 1, o)] += dn[o];
      d.push_back(dn[o] * parameters[norm(l, 0, o)]);
      mean_d += d[o] / sizes[l + 1];
      mean_dc += d[o] * c[o] / sizes[l + 1];
    }
    for (int o = 0; o < sizes[l + 1]; ++o) d[o] = rate * (d[o] - mean_d - c[o] * mean_dc);
    return d;
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
