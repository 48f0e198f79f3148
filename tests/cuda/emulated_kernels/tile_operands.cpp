// SPDX-License-Identifier: Apache-2.0
// The tile kernel in bfloat16 and with operands that are not split.
#include "emulated_kernels/widths.h"
#include "kernels/rollout_tile.cuh"

namespace softmpc::cuda {

SOFTMPC_EMULATE(RolloutJob, MmaWidths,
                rollout_tile<Sizes, Rules, 16, Number::bf16, Operands::edges, Operands::split>);
SOFTMPC_EMULATE(RolloutJob, MmaWidths,
                rollout_tile<Sizes, Rules, 64, Number::bf16, Operands::edges, Operands::split>);
SOFTMPC_EMULATE(RolloutJob, MmaWidths,
                rollout_tile<Sizes, Rules, 64, Number::f16, Operands::single, Operands::single>);
SOFTMPC_EMULATE(RolloutJob, MmaWidths,
                rollout_tile<Sizes, Rules, 64, Number::f16, Operands::single, Operands::split>);

}  // namespace softmpc::cuda
