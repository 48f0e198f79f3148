// SPDX-License-Identifier: Apache-2.0
// Start values of networks.
#pragma once

#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "softmpc/hd/philox.h"
#include "softmpc/net.h"

namespace softmpc {

/// Which network a random initialisation is for.
enum Network : std::uint32_t { kMembers, kCritics, kPolicy };

/// PyTorch's default, weights and biases uniform in +-1/sqrt(in), LayerNorm 1 and 0; in the order
/// of NetWeights::parameters. A function of (seed, network).
inline std::vector<float> initial_parameters(int stack, const NetSpec& spec, std::uint64_t seed,
                                             std::uint32_t network) {
  NetWeights weights = NetWeights::zeros(stack, spec);
  std::uint32_t drawn = 0;
  spec.for_each_slot([&](const ParameterSlot& slot) {
    if (slot.part != Part::weight && slot.part != Part::bias) return;
    const float bound = 1.0f / std::sqrt(static_cast<float>(spec.inputs_of(slot.layer)));
    for (float& value : weights.slot(slot.layer, slot.part)) {
      const hd::Philox4 bits =
          hd::philox({drawn++, hd::draw_word(hd::Stream::init, 0, 0, 0), network, 0}, seed);
      value = bound * (2 * hd::uniform(bits.x) - 1);
    }
  });
  return std::move(weights.parameters);
}

}  // namespace softmpc
