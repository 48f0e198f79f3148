// SPDX-License-Identifier: Apache-2.0
// Rollouts with the least delay: a cluster of 8 blocks takes `slots` of them through all steps. For
// one member a step, padded widths of 256 and 512, sm_90.
#pragma once

#include "cluster_engine.cuh"
#include "rollout_tile.cuh"

namespace softmpc::cuda {

template <class Sizes, class Rules, int slots, Number number, Operands net_operands,
          Operands critic_operands>
SOFTMPC_KERNEL void rollout_cluster(const RolloutJob& job) {
  constexpr int kWidest = widest(Sizes::dynamics_width, Sizes::critic_width, Sizes::policy_width);
  using Engine = ClusterEngine<slots, kWidest, number>;
  const int words = engine_words(Sizes{}, net_operands, critic_operands);
  TileRollout<Sizes, Rules, Engine, slots, net_operands, critic_operands>(
      job, TileMemory(Sizes{}, slots, Engine::kGroup, words, shared_memory(),
                      cluster_engine_bytes(slots, kWidest, words, most_outputs(Sizes{}))))
      .run();
}

}  // namespace softmpc::cuda
