// SPDX-License-Identifier: Apache-2.0
// Kernels without tensor cores: packing, the analytic and the plain rollout, the update.
#include "emulated_kernels/widths.h"
#include "kernels/pack.cuh"
#include "kernels/rollout_analytic.cuh"
#include "kernels/rollout_tile.cuh"
#include "kernels/update.cuh"

namespace softmpc::cuda {

SOFTMPC_EMULATE(PackJob, NoWidths, pack_weights<Number::f32>);
SOFTMPC_EMULATE(PackJob, NoWidths, pack_weights<Number::f16>);
SOFTMPC_EMULATE(PackJob, NoWidths, pack_weights<Number::bf16>);
SOFTMPC_EMULATE(RolloutJob, NoWidths, rollout_analytic<Sizes, Rules, Dynamics, Value, 4>);
SOFTMPC_EMULATE(RolloutJob, NoWidths, rollout_analytic<Sizes, Rules, Dynamics, Value, 8>);
SOFTMPC_EMULATE(RolloutJob, NoWidths, rollout_analytic<Sizes, Rules, Dynamics, Value, 16>);
SOFTMPC_EMULATE(RolloutJob, AnyWidths, update_plans<Sizes>);
SOFTMPC_EMULATE(ResidualJob, AnyWidths, residual_plans<Sizes>);
SOFTMPC_EMULATE(ChargeJob, AnyWidths, charged_plans<Sizes>);
SOFTMPC_EMULATE(ParticleJob, AnyWidths, average_particles<Sizes>);
SOFTMPC_EMULATE(RolloutJob, PlainWidths, rollout_plain<Sizes, Rules, 16>);

}  // namespace softmpc::cuda
