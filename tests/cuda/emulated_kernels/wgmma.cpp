// SPDX-License-Identifier: Apache-2.0
// The warpgroup kernel.
#include "emulated_kernels/widths.h"
#include "kernels/rollout_wgmma.cuh"

namespace softmpc::cuda {

SOFTMPC_EMULATE(RolloutJob, WgmmaWidths,
                rollout_wgmma<Sizes, Rules, 16, Number::f16, Operands::edges, Operands::split>);
SOFTMPC_EMULATE(RolloutJob, WgmmaWidths,
                rollout_wgmma<Sizes, Rules, 16, Number::bf16, Operands::edges, Operands::split>);

}  // namespace softmpc::cuda
