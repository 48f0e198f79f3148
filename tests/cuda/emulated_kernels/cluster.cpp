// SPDX-License-Identifier: Apache-2.0
// The cluster kernel.
#include "emulated_kernels/widths.h"
#include "kernels/rollout_cluster.cuh"

namespace softmpc::cuda {

SOFTMPC_EMULATE(RolloutJob, ClusterWidths,
                rollout_cluster<Sizes, Rules, 16, Number::f16, Operands::edges, Operands::split>);
SOFTMPC_EMULATE(RolloutJob, ClusterWidths,
                rollout_cluster<Sizes, Rules, 32, Number::f16, Operands::edges, Operands::split>);

}  // namespace softmpc::cuda
