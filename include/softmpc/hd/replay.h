// SPDX-License-Identifier: Apache-2.0
// Which stored transition a batch takes.
#pragma once

#include <cstdint>

#include "softmpc/hd/philox.h"

namespace softmpc::hd {

// The random word of row `row` of batch `draw`.
SOFTMPC_HD std::uint32_t replay_word(std::uint64_t seed, std::uint64_t draw, std::uint32_t row) {
  const Philox4 c = {static_cast<std::uint32_t>(draw), draw_word(Stream::replay, 0, 0, 0),
                     static_cast<std::uint32_t>(draw >> 32), row};
  return philox(c, seed).x;
}

// The slot of that row, out of [0, slots): uniform, with replacement.
SOFTMPC_HD std::uint32_t replay_slot(std::uint64_t seed, std::uint64_t draw, std::uint32_t row,
                                     std::uint32_t slots) {
  return uniform_index(replay_word(seed, draw, row), slots);
}

}  // namespace softmpc::hd
