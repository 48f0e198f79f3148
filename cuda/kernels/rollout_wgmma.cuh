// SPDX-License-Identifier: Apache-2.0
// Rollouts at the highest rate: blocks of two tiles of 64, one ring of weights. For one member a
// step, padded widths up to 256, no policy, sm_90a.
#pragma once

#include "rollout_tile.cuh"
#include "wgmma_engine.cuh"

namespace softmpc::cuda {

/// Sends the networks of a rollout in the order of their use. `member` [H] in shared memory: who
/// brings weights has no registers to draw members.
template <class Sizes, Operands net_operands, Operands critic_operands, class Ring>
SOFTMPC_DEVICE void send_networks(const RolloutJob& job, const int* member, Ring& ring) {
  const NetShape dynamics = dynamics_shape(Sizes{}, net_operands, WeightOrder::columns);
  const NetShape critic = critic_shape(Sizes{}, critic_operands, WeightOrder::columns);
  SOFTMPC_KEEP_LOOP
  for (int t = 0; t < Sizes::horizon; ++t)
    ring.send(dynamics,
              job.dynamics.weights + static_cast<std::size_t>(member[t]) * dynamics.words());
  ring.send(critic,
            job.critic.weights + static_cast<std::size_t>(job.critic_index) * critic.words());
}

/// `outputs`: wgmma_outputs() of the dynamics' outputs.
template <class Sizes, class Rules, int outputs, Number number, Operands net_operands,
          Operands critic_operands>
SOFTMPC_KERNEL void rollout_wgmma(const RolloutJob& job) {
  using Ring = WeightRing<kWgmmaTiles * 4>;
  using Engine = WgmmaEngine<outputs, number, Ring>;
  const int stages = job.ring_stages;
  int* member = reinterpret_cast<int*>(shared_memory() + ring_bytes(stages));
  for (int t = thread(); t < Sizes::horizon; t += threads()) member[t] = step_member<Sizes>(job, t);
  Ring ring(shared_memory(), stages);
  // a thread needs 24 registers to bring weights, 240 to hold the sums of a layer
  if (thread() >= kWgmmaTiles * 128) {
    registers_down<24>();
    if (thread() == kWgmmaTiles * 128)
      send_networks<Sizes, net_operands, critic_operands>(job, member, ring);
    return;
  }
  registers_up<240>();
  const int engine_bytes = wgmma_activation_bytes(Sizes{}, net_operands, critic_operands);
  char* own = shared_memory() + ring_bytes(stages) + member_table_bytes(Sizes::horizon);
  const TileMemory first(Sizes{}, Engine::kSlots, Engine::kGroup, 0, own, engine_bytes);
  const TileMemory memory(Sizes{}, Engine::kSlots, Engine::kGroup, 0,
                          own + Engine::group() * first.bytes, engine_bytes);
  TileRollout<Sizes, Rules, Engine, Engine::kSlots, net_operands, critic_operands>(job, memory,
                                                                                   &ring)
      .run();
}

}  // namespace softmpc::cuda
