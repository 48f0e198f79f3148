// SPDX-License-Identifier: Apache-2.0
// The optimiser's and the target network's elementwise updates.
#pragma once

#include <cmath>
#include <cstdint>

#include "softmpc/hd/macros.h"

namespace softmpc::hd {

/// Constants of one Adam step: eta_t = rate / (1 - beta1^t), c_t = 1 / sqrt(1 - beta2^t).
struct AdamStep {
  float beta1, beta2, epsilon;
  float rate;   ///< eta_t
  float scale;  ///< c_t
};

// Constants of step t = 1, 2, ... with PyTorch's defaults beta1 = 0.9, beta2 = 0.999, eps = 1e-8.
SOFTMPC_HD AdamStep adam_step(double rate, std::int64_t t) {
  const double beta1 = 0.9, beta2 = 0.999, count = static_cast<double>(t);
  return {static_cast<float>(beta1), static_cast<float>(beta2), 1e-8f,
          static_cast<float>(rate / (1 - std::pow(beta1, count))),
          static_cast<float>(1 / std::sqrt(1 - std::pow(beta2, count)))};
}

// m <- b1 m + (1 - b1) g,  v <- b2 v + (1 - b2) g^2,  p <- p - eta_t m / (c_t sqrt(v) + eps)
// (Kingma & Ba 2015, in the form of PyTorch's Adam)
SOFTMPC_HD float adam(const AdamStep& s, float g, float p, float& m, float& v) {
  m = s.beta1 * m + (1 - s.beta1) * g;
  v = s.beta2 * v + (1 - s.beta2) * g * g;
  return p - s.rate * m / (s.scale * __builtin_sqrtf(v) + s.epsilon);
}

// theta_target <- theta_target + tau (theta - theta_target)
SOFTMPC_HD float polyak(float target, float online, float tau) {
  return target + tau * (online - target);
}

}  // namespace softmpc::hd
