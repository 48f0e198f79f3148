// SPDX-License-Identifier: Apache-2.0
// Shared memory of a tile of rollouts; the host asks for its size, the kernel for its places.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine_bytes.h"
#include "layout.h"
#include "make_rules.h"
#include "nets.cuh"

namespace softmpc::cuda {

// MemberDraw as a number
inline constexpr int kPerStep = 0, kPerRolloutStep = 1, kPerRollout = 2;

SOFTMPC_HD constexpr int widest(int a, int b, int c) {
  return a > b ? (a > c ? a : c) : (b > c ? b : c);
}

/// What MmaEngine is made with.
template <class Sizes>
SOFTMPC_HD int engine_words(const Sizes& s, Operands net, Operands critic) {
  const int dynamics = input_words(dynamics_shape(s, net));
  const int value = input_words(critic_shape(s, critic));
  return dynamics > value ? dynamics : value;  // a policy has fewer inputs
}

/// The most outputs of a net, for engines that exchange them.
template <class Sizes>
SOFTMPC_HD int most_outputs(const Sizes& s) {
  return s.policy_residual && s.nu > s.dynamics_outputs ? s.nu : s.dynamics_outputs;
}

/// Activations of a tile of rollout_wgmma: 64 slots, the widest input of a layer with all its
/// parts.
template <class Sizes>
SOFTMPC_HD int wgmma_activation_bytes(const Sizes& s, Operands net, Operands critic) {
  int columns = 2 * engine_words(s, net, critic);
  const int hidden = (net == Operands::single ? 1 : 2) * s.dynamics_width;
  const int value = (critic == Operands::single ? 1 : 2) * s.critic_width;
  if (hidden > columns) columns = hidden;
  if (value > columns) columns = value;
  return 64 * 2 * columns;
}

/// What PlainEngine is made with.
template <class Sizes>
SOFTMPC_HD int plain_widest(const Sizes& s) {
  int most = s.nx + s.nu;
  if (s.dynamics_width > most) most = s.dynamics_width;
  if (s.critic_width > most) most = s.critic_width;
  if (s.policy_width > most) most = s.policy_width;
  return most;
}

/// Arrays of the tile, by rollout ("row") unless said otherwise.
struct TileMemory {
  char* engine;           // activations
  int engine_words;       // what the engine is made with
  int x_stride;           // odd: rows of neighbours lie in other banks
  float *x, *next;        // [slots, x_stride]
  float *action, *noise;  // [slots, nu]
  float *j, *prior, *reward, *logit;
  int *problem, *rollout, *valid, *alive;
  // members that differ within a step
  int *member, *rank, *group_count, *groups;
  int* group_member;  // [slots + groups of a pass]
  short* slot_row;    // [slots * group]
  std::size_t bytes;  // of all

  template <class Sizes>
  SOFTMPC_HD TileMemory(const Sizes& s, int slots, int group, int words, char* shared,
                        int engine_bytes) {
    engine_words = words;
    x_stride = s.nx | 1;
    bytes = 0;
    take(shared, engine, engine_bytes);
    take(shared, x, slots * x_stride);
    take(shared, next, slots * x_stride);
    take(shared, action, slots * s.nu);
    take(shared, noise, slots * s.nu);
    for (float** array : {&j, &prior, &reward, &logit}) take(shared, *array, slots);
    for (int** array : {&problem, &rollout, &valid, &alive}) take(shared, *array, slots);
    if (s.member_draw != kPerStep && s.members > 1) {
      for (int** array : {&member, &rank, &group_count}) take(shared, *array, slots);
      take(shared, groups, 1);
      take(shared, group_member, slots + slots / group);
      take(shared, slot_row, slots * group);
    } else {
      member = rank = group_count = groups = group_member = nullptr;
      slot_row = nullptr;
    }
  }

 private:
  template <class T>
  SOFTMPC_HD void take(char* shared, T*& array, int count) {
    array = reinterpret_cast<T*>(shared + bytes);
    bytes += (static_cast<std::size_t>(count) * sizeof(T) + 15) / 16 * 16;
  }
};

}  // namespace softmpc::cuda
