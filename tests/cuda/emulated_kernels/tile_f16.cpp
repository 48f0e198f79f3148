// SPDX-License-Identifier: Apache-2.0
// The tile kernel in float16.
#include "emulated_kernels/widths.h"
#include "kernels/rollout_tile.cuh"

namespace softmpc::cuda {

#define SOFTMPC_EMULATE_TILE(slots) \
  SOFTMPC_EMULATE(                  \
      RolloutJob, TileWidths,       \
      rollout_tile<Sizes, Rules, slots, Number::f16, Operands::edges, Operands::split>)
SOFTMPC_EMULATE_TILE(16);
SOFTMPC_EMULATE_TILE(32);
SOFTMPC_EMULATE_TILE(64);
#undef SOFTMPC_EMULATE_TILE

}  // namespace softmpc::cuda
