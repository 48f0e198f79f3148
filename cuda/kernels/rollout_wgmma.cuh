// SPDX-License-Identifier: Apache-2.0
// Rollouts at the highest rate: blocks of two tiles of 64, one ring of weights. For one member a
// step, padded widths up to 256, no policy, sm_90a.
#pragma once

#include "rollout_tile.cuh"
#include "wgmma_engine.cuh"

namespace softmpc::cuda {

/// The networks of a rollout in the order of their use.
template <class Sizes, Operands net_operands, Operands critic_operands>
class RolloutProgram {
 public:
  /// `member` [H] in shared memory: who brings weights has no registers to draw members.
  SOFTMPC_DEVICE RolloutProgram(const RolloutJob& job, int* member) : job_(job), member_(member) {
    for (int t = thread(); t < Sizes::horizon; t += threads())
      member[t] = step_member<Sizes>(job, t);
  }
  SOFTMPC_DEVICE int count() const { return Sizes::horizon + 1; }
  SOFTMPC_DEVICE NetShape shape(int i) const {
    return i < Sizes::horizon ? dynamics_shape(Sizes{}, net_operands, WeightOrder::columns)
                              : critic_shape(Sizes{}, critic_operands, WeightOrder::columns);
  }
  SOFTMPC_DEVICE const std::uint32_t* weights(int i) const {
    const bool step = i < Sizes::horizon;
    const std::size_t network = step ? member_[i] : job_.critic_index;
    return (step ? job_.dynamics.weights : job_.critic.weights) + network * shape(i).words();
  }

 private:
  const RolloutJob& job_;
  const int* member_;
};

/// `outputs`: wgmma_outputs() of the dynamics' outputs.
template <class Sizes, class Rules, int outputs, Number number, Operands net_operands,
          Operands critic_operands>
SOFTMPC_KERNEL void rollout_wgmma(const RolloutJob& job) {
  using Program = RolloutProgram<Sizes, net_operands, critic_operands>;
  using Ring = WeightRing<Program, kWgmmaTiles * 4>;
  using Engine = WgmmaEngine<outputs, number, Ring>;
  const int stages = job.ring_stages;
  int* member = reinterpret_cast<int*>(shared_memory() + ring_bytes(stages));
  const Program program(job, member);
  Ring ring(shared_memory(), stages, program);
  // a thread needs 24 registers to bring weights, 240 to hold the sums of a layer
  if (thread() >= kWgmmaTiles * 128) {
    registers_down<24>();
    if (thread() == kWgmmaTiles * 128) ring.fill();
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
