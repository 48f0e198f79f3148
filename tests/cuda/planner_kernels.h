// SPDX-License-Identifier: Apache-2.0
// The planner's kernels for the emulator, for the padded widths of the tests' networks.
#pragma once

#include "emulator/emulated_device.h"
#include "kernels/pack.cuh"
#include "kernels/rollout_analytic.cuh"
#include "kernels/rollout_cluster.cuh"
#include "kernels/rollout_tile.cuh"
#include "kernels/rollout_wgmma.cuh"
#include "kernels/update.cuh"

namespace softmpc::cuda {

using NoWidths = emulator::WidthList<emulator::Widths<0, 0, 0>>;
template <int width>
using Equal = emulator::Widths<width, width, width>;
using PlainWidths = emulator::WidthList<Equal<8>, Equal<16>, Equal<24>, Equal<32>, Equal<40>>;
using MmaWidths = emulator::WidthList<Equal<64>, Equal<256>>;
using WgmmaWidths = emulator::WidthList<Equal<64>, Equal<128>, Equal<256>>;
using ClusterWidths = emulator::WidthList<Equal<256>>;
using AllWidths = emulator::WidthList<Equal<8>, Equal<16>, Equal<24>, Equal<32>, Equal<40>,
                                      Equal<64>, Equal<128>, Equal<256>>;

SOFTMPC_EMULATE(PackJob, NoWidths, pack_weights<Number::f32>);
SOFTMPC_EMULATE(PackJob, NoWidths, pack_weights<Number::f16>);
SOFTMPC_EMULATE(PackJob, NoWidths, pack_weights<Number::bf16>);
SOFTMPC_EMULATE(RolloutJob, NoWidths, rollout_analytic<Sizes, Rules, Dynamics, Value, 4>);
SOFTMPC_EMULATE(RolloutJob, NoWidths, rollout_analytic<Sizes, Rules, Dynamics, Value, 8>);
SOFTMPC_EMULATE(RolloutJob, NoWidths, rollout_analytic<Sizes, Rules, Dynamics, Value, 16>);
SOFTMPC_EMULATE(RolloutJob, NoWidths, update_plans<Sizes>);
SOFTMPC_EMULATE(ResidualJob, NoWidths, residual_plans<Sizes>);
SOFTMPC_EMULATE(RolloutJob, AllWidths, update_plans<Sizes>);
SOFTMPC_EMULATE(ResidualJob, AllWidths, residual_plans<Sizes>);
SOFTMPC_EMULATE(RolloutJob, PlainWidths, rollout_plain<Sizes, Rules, 16>);
// X(number, slots) of the 16-bit paths
#define SOFTMPC_EMULATE_TILE(number, slots) \
  SOFTMPC_EMULATE(RolloutJob, MmaWidths,    \
                  rollout_tile<Sizes, Rules, slots, number, Operands::edges, Operands::split>)
#define SOFTMPC_EMULATE_CLUSTER(number, slots) \
  SOFTMPC_EMULATE(RolloutJob, ClusterWidths,   \
                  rollout_cluster<Sizes, Rules, slots, number, Operands::edges, Operands::split>)
SOFTMPC_EMULATE_TILE(Number::f16, 16);
SOFTMPC_EMULATE_TILE(Number::f16, 32);
SOFTMPC_EMULATE_TILE(Number::f16, 64);
SOFTMPC_EMULATE_TILE(Number::bf16, 16);
SOFTMPC_EMULATE_TILE(Number::bf16, 64);
SOFTMPC_EMULATE(RolloutJob, MmaWidths,
                rollout_tile<Sizes, Rules, 64, Number::f16, Operands::single, Operands::single>);
SOFTMPC_EMULATE(RolloutJob, MmaWidths,
                rollout_tile<Sizes, Rules, 64, Number::f16, Operands::single, Operands::split>);
SOFTMPC_EMULATE_CLUSTER(Number::f16, 16);
SOFTMPC_EMULATE_CLUSTER(Number::f16, 32);
SOFTMPC_EMULATE(RolloutJob, WgmmaWidths,
                rollout_wgmma<Sizes, Rules, 16, Number::f16, Operands::edges, Operands::split>);
SOFTMPC_EMULATE(RolloutJob, WgmmaWidths,
                rollout_wgmma<Sizes, Rules, 16, Number::bf16, Operands::edges, Operands::split>);
#undef SOFTMPC_EMULATE_TILE
#undef SOFTMPC_EMULATE_CLUSTER

}  // namespace softmpc::cuda
