// SPDX-License-Identifier: Apache-2.0
// An input of state_fuzz: which controller (1 byte), a time (8 bytes), a saved state.
#pragma once

#include <array>
#include <chrono>

#include "fuzz/fuzz.h"

namespace softmpc::fuzz {

inline constexpr std::size_t kStateAt = 9;

/// One that looks ahead over a delay, and so keeps many commands, and one that limits their rate.
struct StateCase {
  Bundle bundle = small_bundle(3, 2);
  WeighedReward reward;
  std::array<Controller, 2> controllers{
      Controller(bundle, &reward,
                 {.command_delay = std::chrono::milliseconds(150), .want_predicted = true}),
      Controller(bundle, &reward,
                 {.fallback = Fallback::hold, .max_rate = {3, 3}, .reading = Reading::hold})};

  static std::vector<std::byte> saved(const Controller& controller) {
    std::vector<std::byte> state(controller.state_size());
    hold(controller.save_state(state), "a state is saved");
    return state;
  }
};

}  // namespace softmpc::fuzz
