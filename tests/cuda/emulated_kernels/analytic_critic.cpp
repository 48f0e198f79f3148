// SPDX-License-Identifier: Apache-2.0
// The analytic rollout with a critic as terminal value: by rollouts asked at once, and room.
#include "emulated_kernels/widths.h"
#include "kernels/rollout_analytic.cuh"

namespace softmpc::cuda {

using CriticWidths = emulator::WidthList<emulator::Widths<0, 8, 0>, emulator::Widths<0, 16, 0>,
                                         emulator::Widths<0, 24, 0>>;

#define SOFTMPC_EMULATE_CRITIC(asking, room) \
  SOFTMPC_EMULATE(RolloutJob, CriticWidths,  \
                  rollout_analytic<Sizes, Rules, Dynamics, CriticValue<asking>, room>)

SOFTMPC_EMULATE_CRITIC(1, 4);
SOFTMPC_EMULATE_CRITIC(1, 8);
SOFTMPC_EMULATE_CRITIC(1, 16);
SOFTMPC_EMULATE_CRITIC(2, 4);
SOFTMPC_EMULATE_CRITIC(2, 8);
SOFTMPC_EMULATE_CRITIC(2, 16);
SOFTMPC_EMULATE_CRITIC(4, 4);
SOFTMPC_EMULATE_CRITIC(4, 8);
SOFTMPC_EMULATE_CRITIC(4, 16);
SOFTMPC_EMULATE_CRITIC(8, 4);
SOFTMPC_EMULATE_CRITIC(8, 8);
SOFTMPC_EMULATE_CRITIC(8, 16);

}  // namespace softmpc::cuda
