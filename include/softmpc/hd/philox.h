// SPDX-License-Identifier: Apache-2.0
// Counter-based random numbers: Philox4x32-10 (Salmon et al., SC 2011). A draw is a function of
// (seed, solve, iteration, problem, rollout, step, action block), so it does not depend on thread,
// tile or batch position, and nothing has to be stored.
#pragma once

#include <cstdint>

#include "softmpc/hd/macros.h"
#include "softmpc/hd/math.h"

namespace softmpc::hd {

struct Philox4 {
  std::uint32_t x, y, z, w;
};

// Both halves of a product. On a device the shift of a 64-bit product would cost an addition more.
SOFTMPC_HD void multiply(std::uint32_t a, std::uint32_t b, std::uint32_t& high,
                         std::uint32_t& low) {
#if defined(__CUDA_ARCH__)
  high = __umulhi(a, b);
  low = a * b;
#else
  const std::uint64_t product = static_cast<std::uint64_t>(a) * b;
  high = static_cast<std::uint32_t>(product >> 32);
  low = static_cast<std::uint32_t>(product);
#endif
}

SOFTMPC_HD void philox_round(Philox4& c, std::uint32_t k0, std::uint32_t k1) {
  std::uint32_t high0, low0, high1, low1;
  multiply(0xD2511F53u, c.x, high0, low0);
  multiply(0xCD9E8D57u, c.z, high1, low1);
  c = {high1 ^ c.y ^ k0, low1, high0 ^ c.w ^ k1, low0};
}

// Philox4x32-10(counter, key = seed)
SOFTMPC_HD Philox4 philox(Philox4 counter, std::uint64_t seed) {
  std::uint32_t k0 = static_cast<std::uint32_t>(seed);
  std::uint32_t k1 = static_cast<std::uint32_t>(seed >> 32);
  SOFTMPC_UNROLL
  for (int i = 0; i < 10; ++i) {
    philox_round(counter, k0, k1);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return counter;
}

// What a draw is for: the one list of purposes. Streams of different purposes never share a
// counter; a number once given stays, since recorded runs draw by it. There are kMaxStreams.
enum class Stream : std::uint32_t {
  noise = 0,    // eps of the rollouts
  member = 1,   // ensemble member draws
  plan = 2,     // start plan of an episode
  reset = 3,    // environment resets
  replay = 4,   // batch sampling
  explore = 5,  // exploration noise of a policy
  init = 6,     // network initialisation
  policy = 7,   // member draws of the policy's gradient
};

// Step and action block share a word with the purpose and the iteration.
//   purpose 5 bits | iteration 7 bits | step 12 bits | action block 8 bits
inline constexpr int kMaxStreams = 1 << 5;
inline constexpr int kMaxIterations = 1 << 7;
inline constexpr int kMaxHorizon = (1 << 12) - 1;
inline constexpr int kMaxActionSize = 4 << 8;

SOFTMPC_HD std::uint32_t draw_word(Stream stream, int iteration, int step, int block) {
  return static_cast<std::uint32_t>(stream) << 27 | static_cast<std::uint32_t>(iteration) << 20 |
         static_cast<std::uint32_t>(step) << 8 | static_cast<std::uint32_t>(block);
}

// Uniform on the open interval (0, 1): odd multiples of 2^-24, all of them exact.
SOFTMPC_HD float uniform(std::uint32_t bits) {
  return fma(static_cast<float>(static_cast<std::int32_t>(bits >> 9)), 0x1p-23f, 0x1p-24f);
}

// Box-Muller: two standard normals from two words.
SOFTMPC_HD void normal_pair(std::uint32_t a, std::uint32_t b, float& n0, float& n1) {
  const float radius = __builtin_sqrtf(-2.0f * log(uniform(a)));
  float sine, cosine;
  sincos_turns(static_cast<float>(static_cast<std::int32_t>(b >> 8)) * 0x1p-24f, sine, cosine);
  n0 = radius * cosine;
  n1 = radius * sine;
}

// Entry i of an action that is uniform in its box: of the run's transition `index`.
SOFTMPC_HD float random_action(std::uint64_t seed, std::uint64_t index, int i, float low,
                               float high) {
  const Philox4 c = {static_cast<std::uint32_t>(index), draw_word(Stream::explore, 0, 1, 0),
                     static_cast<std::uint32_t>(index >> 32), static_cast<std::uint32_t>(i)};
  return low + uniform(philox(c, seed).x) * (high - low);
}

// Standard normals of four action entries; `word` is draw_word() of purpose, iteration, step,
// block.
SOFTMPC_HD void normal_block(std::uint64_t seed, std::uint32_t solve, std::uint32_t word,
                             std::uint32_t problem, std::uint32_t rollout, float (&n)[4]) {
  const Philox4 bits = philox({solve, word, problem, rollout}, seed);
  normal_pair(bits.x, bits.y, n[0], n[1]);
  normal_pair(bits.z, bits.w, n[2], n[3]);
}

// Uniform integer in [0, n), n >= 1: floor(bits * n / 2^32). Bias below n / 2^32.
SOFTMPC_HD std::uint32_t uniform_index(std::uint32_t bits, std::uint32_t n) {
  return static_cast<std::uint32_t>((static_cast<std::uint64_t>(bits) * n) >> 32);
}

// A keyed permutation of [0, n): four Feistel rounds on the next even power of two, walking the
// cycle until the image is in range. Gives every member its equal share of the rollouts.
SOFTMPC_HD std::uint32_t permute(std::uint32_t index, std::uint32_t n, Philox4 key) {
  int half = 1;
  while ((1ull << (2 * half)) < n) ++half;
  const std::uint32_t mask = (1u << half) - 1u;
  std::uint32_t value = index;
  do {
    std::uint32_t left = value >> half, right = value & mask;
    const std::uint32_t keys[4] = {key.x, key.y, key.z, key.w};
    for (int round = 0; round < 4; ++round) {
      std::uint32_t f = (right + keys[round]) * 0x9E3779B1u;
      f ^= f >> 15;
      f *= 0x85EBCA77u;
      f ^= f >> 13;
      const std::uint32_t next = left ^ (f & mask);
      left = right;
      right = next;
    }
    value = left << half | right;
  } while (value >= n);
  return value;
}

// One member for a whole batch; `word` is draw_word() of purpose, iteration and step.
SOFTMPC_HD int batch_member(std::uint64_t seed, std::uint32_t count, std::uint32_t word,
                            int members) {
  const Philox4 c = {count, word, ~0u, ~0u};
  return static_cast<int>(uniform_index(philox(c, seed).x, static_cast<std::uint32_t>(members)));
}

// member_draw per_step: of step t of a solve.
SOFTMPC_HD int draw_member(std::uint64_t seed, std::uint32_t solve, int iteration, int step,
                           int members) {
  return batch_member(seed, solve, draw_word(Stream::member, iteration, step, 0), members);
}

// Of step t of a policy's update.
SOFTMPC_HD int draw_policy_member(std::uint64_t seed, std::uint32_t update, int step, int members) {
  return batch_member(seed, update, draw_word(Stream::policy, 0, step, 0), members);
}

// Balanced draws: shares of a problem's rollouts differ by at most one, and a drawn offset decides
// which members get the larger ones.
SOFTMPC_HD Philox4 balanced_key(std::uint64_t seed, std::uint32_t solve, int iteration, int step,
                                std::uint32_t problem) {
  const Philox4 c = {solve, draw_word(Stream::member, iteration, step, 1), problem, ~0u};
  return philox(c, seed);
}
SOFTMPC_HD int balanced_member(std::uint32_t rollout, std::uint32_t rollouts, int members,
                               Philox4 key) {
  const std::uint32_t n = static_cast<std::uint32_t>(members);
  return static_cast<int>((permute(rollout, rollouts, key) % n + uniform_index(key.y, n)) % n);
}

// Particles: rollouts s P .. s P + P - 1 are of action sequence s and share its noise.
SOFTMPC_HD std::uint32_t sequence_of(std::uint32_t rollout, int particles) {
  return rollout / static_cast<std::uint32_t>(particles);
}
// Particle p follows member p + offset, the same for all sequences of a problem: they are compared
// under equal models.
SOFTMPC_HD int particle_member(std::uint32_t rollout, int particles, int members, Philox4 key) {
  const std::uint32_t n = static_cast<std::uint32_t>(members);
  return static_cast<int>(
      (rollout % static_cast<std::uint32_t>(particles) + uniform_index(key.y, n)) % n);
}
// The member of a rollout where not one serves the whole step.
SOFTMPC_HD int rollout_member(std::uint32_t rollout, std::uint32_t rollouts, int particles,
                              int members, Philox4 key) {
  return particles > 1 ? particle_member(rollout, particles, members, key)
                       : balanced_member(rollout, rollouts, members, key);
}

}  // namespace softmpc::hd
