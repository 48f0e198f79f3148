// SPDX-License-Identifier: Apache-2.0
// Random numbers of an episode's start: a function of the seed and of the draw's place alone.
#pragma once

#include <cstdint>

#include "softmpc/hd/philox.h"

namespace softmpc::tasks {

class ResetRandom {
 public:
  explicit ResetRandom(std::uint64_t seed) : seed_(seed) {}

  /// Uniform on (low, high), 53 bits.
  double uniform(double low, double high) {
    const hd::Philox4 bits = next();
    const std::uint64_t word = static_cast<std::uint64_t>(bits.x) << 32 | bits.y;
    return low + (high - low) * (static_cast<double>(word >> 11) + 0.5) * 0x1p-53;
  }

  /// Standard normal.
  double normal() {
    const hd::Philox4 bits = next();
    float first, second;
    hd::normal_pair(bits.x, bits.y, first, second);
    return first;
  }

 private:
  hd::Philox4 next() {
    return hd::philox({draw_++, hd::draw_word(hd::Stream::reset, 0, 0, 0), 0, 0}, seed_);
  }

  std::uint64_t seed_;
  std::uint32_t draw_ = 0;
};

}  // namespace softmpc::tasks
