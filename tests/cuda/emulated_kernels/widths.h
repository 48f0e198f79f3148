// SPDX-License-Identifier: Apache-2.0
// The padded widths of the tests' networks: what the emulated kernels are compiled for.
#pragma once

#include "emulator/emulated_device.h"

namespace softmpc::cuda {

using NoWidths = emulator::WidthList<emulator::Widths<0, 0, 0>>;
/// For kernels that read no width: one body, whatever the network.
using AnyWidths = emulator::WidthList<emulator::AnyWidth>;
template <int width>
using Equal = emulator::Widths<width, width, width>;
using PlainWidths = emulator::WidthList<Equal<8>, Equal<16>, Equal<24>, Equal<32>, Equal<40>>;
using MmaWidths = emulator::WidthList<Equal<64>, Equal<256>>;
using TileWidths = emulator::WidthList<Equal<64>, Equal<128>, Equal<256>>;
using WgmmaWidths = emulator::WidthList<Equal<64>, Equal<128>, Equal<256>>;
using ClusterWidths = emulator::WidthList<Equal<256>>;

}  // namespace softmpc::cuda
