// SPDX-License-Identifier: Apache-2.0
// Start values of networks.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "softmpc/hd/philox.h"

namespace softmpc {

/// Which network a random initialisation is for.
enum Network : std::uint32_t { kMembers, kCritics, kPolicy };

/// PyTorch's default, weights and biases uniform in +-1/sqrt(in): per layer weight [E, out, in],
/// bias [E, out]. A function of (seed, network).
inline std::vector<float> initial_parameters(int stack, const std::vector<int>& sizes,
                                             std::uint64_t seed, std::uint32_t network) {
  std::vector<float> values;
  for (std::size_t l = 1; l < sizes.size(); ++l) {
    const float bound = 1.0f / std::sqrt(static_cast<float>(sizes[l - 1]));
    const std::int64_t n = static_cast<std::int64_t>(stack) * sizes[l] * (sizes[l - 1] + 1);
    for (std::int64_t i = 0; i < n; ++i) {
      const auto index = static_cast<std::uint32_t>(values.size());
      const hd::Philox4 bits =
          hd::philox({index, hd::draw_word(hd::Stream::init, 0, 0, 0), network, 0}, seed);
      values.push_back(bound * (2 * hd::uniform(bits.x) - 1));
    }
  }
  return values;
}

}  // namespace softmpc
