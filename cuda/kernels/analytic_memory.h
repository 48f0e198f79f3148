// SPDX-License-Identifier: Apache-2.0
// Shared memory of a block of rollout_analytic; the host asks for its size, the kernel for its
// places.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine_bytes.h"
#include "softmpc/hd/macros.h"
#include "tile_memory.h"

namespace softmpc::cuda {

inline constexpr int kAnalyticThreads = 256;
inline constexpr int kMostSlots = 32;  // a warp integrates them
/// Entries that a state or an action may have; the arrays of a thread have the least that is
/// enough.
inline constexpr int kMostRoom = 256;

/// The least room for `entries`, 0 if none is enough.
constexpr int room_for(int entries) {
  int room = 4;
  while (room < entries) room *= 2;
  return room <= kMostRoom ? room : 0;
}

/// The terminal value is a critic in place of a formula: rollouts that a block asks it for at once.
/// All of a small block's, and of a large one's no more than there are registers for; 0: a formula.
inline constexpr int kMostAsking = 8;
template <class Sizes>
SOFTMPC_HD int asking_slots(const Sizes& s) {
  if (s.critic_layers == 0) return 0;
  return s.slots < kMostAsking ? s.slots : kMostAsking;
}

/// An item is a rollout at a step of the chunk: step * slots + slot. Arrays are by component, then
/// item, so that neighbouring threads read neighbouring words.
struct AnalyticMemory {
  int items, states;  // of one component
  char* engine;       // of a critic that is the terminal value; first, as it reads 16 bytes at once
  float* state;       // [nx, (chunk + 1) * slots] before each step, and after the last
  float* action;      // [nu, items]
  float* term;        // [items] of the prior sum; then of J
  float* value;       // [slots] Q(x_H, a_H)
  std::uint8_t* flag;  // [items] v_t lies in the box; then: the step ended the episode
  template <class Sizes>
  SOFTMPC_HD AnalyticMemory(const Sizes& s, char* shared) {
    items = s.chunk * s.slots;
    states = items + s.slots;
    engine = shared;
    state = reinterpret_cast<float*>(engine + engine_bytes(s));
    action = state + s.nx * states;
    term = action + s.nu * items;
    value = term + items;
    flag = reinterpret_cast<std::uint8_t*>(value + s.slots);
  }
  template <class Sizes>
  SOFTMPC_HD static int engine_bytes(const Sizes& s) {
    return plain_engine_bytes(asking_slots(s), plain_widest(s));
  }
};

template <class Sizes>
SOFTMPC_HD std::size_t analytic_bytes(const Sizes& s) {
  const std::size_t items = static_cast<std::size_t>(s.chunk) * s.slots, states = items + s.slots;
  return sizeof(float) * (s.nx * states + s.nu * items + items + s.slots) +
         AnalyticMemory::engine_bytes(s) + items;
}

}  // namespace softmpc::cuda
