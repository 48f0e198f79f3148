// SPDX-License-Identifier: Apache-2.0
// Kernels that compute what host and device must agree on: draws, and the rules of a task. Checks
// of a device, and of a compiler.
#pragma once

#include <cstdint>

#include "intrinsics.h"
#include "softmpc/hd/philox.h"
#include "tile_memory.h"

namespace softmpc::cuda {

/// Philox of counters first, first + 1, ..., and the normals of each.
struct DrawJob {
  std::uint64_t seed;
  std::uint32_t first;
  int count;
  hd::Philox4* bits;  ///< [count]
  float* normal;      ///< [count, 4]
};

SOFTMPC_KERNEL void probe_draws(const DrawJob& job) {
  const int i = block() * threads() + thread();
  if (i >= job.count) return;
  const hd::Philox4 bits =
      hd::philox({job.first + static_cast<std::uint32_t>(i), 0, 0, 0}, job.seed);
  job.bits[i] = bits;
  float* normal = job.normal + 4 * i;
  hd::normal_pair(bits.x, bits.y, normal[0], normal[1]);
  hd::normal_pair(bits.z, bits.w, normal[2], normal[3]);
}

/// Reward and termination of `count` transitions.
struct RuleJob {
  int count, nx, nu;
  const float* x;       ///< [count, nx]
  const float* action;  ///< [count, nu]
  const float* next;    ///< [count, nx]
  const float* parameters;
  float* reward;             ///< [count]; null where there is none
  std::uint8_t* terminated;  ///< [count]
};

template <class Rules>
SOFTMPC_KERNEL void probe_rules(const RuleJob& job) {
  const int i = block() * threads() + thread();
  if (i >= job.count) return;
  const Rules rules = make_rules<Rules>(job.parameters);
  const float* next = job.next + i * job.nx;
  job.reward[i] = rules.reward(job.x + i * job.nx, job.action + i * job.nu, next);
  job.terminated[i] = rules_terminated(rules, next) ? 1 : 0;
}

}  // namespace softmpc::cuda
