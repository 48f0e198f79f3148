// SPDX-License-Identifier: Apache-2.0
// Which element of a matrix a lane's register holds (PTX ISA, "Matrix Fragments for mma.m16n8k16"
// and "wgmma.mma_async"). Tests replay whole products by these maps.
#pragma once

#include "softmpc/hd/macros.h"

namespace softmpc::cuda {

struct Place {
  int row, column;
};

// m16n8k16, 16-bit A [16, 16]: element i = 0..7 of a lane, two to a register
SOFTMPC_HD constexpr Place a_fragment(int lane, int i) {
  return {lane / 4 + 8 * (i / 2 % 2), lane % 4 * 2 + i % 2 + 8 * (i / 4)};
}
// m16n8k16, 16-bit B [16 (k), 8 (n)]: element i = 0..3 of a lane, two to a register
SOFTMPC_HD constexpr Place b_fragment(int lane, int i) {
  return {lane % 4 * 2 + i % 2 + 8 * (i / 2), lane / 4};
}
// m16n8k16, float32 C and D [16, 8]: register i = 0..3 of a lane
SOFTMPC_HD constexpr Place c_fragment(int lane, int i) {
  return {lane / 4 + 8 * (i / 2), lane % 4 * 2 + i % 2};
}
// ldmatrix.x4 on a row-major 16-bit A [16, 16]: the row and first column that lane's address names
SOFTMPC_HD constexpr Place ldmatrix_row(int lane) { return {lane % 16, 8 * (lane / 16)}; }

// wgmma m64nNk16, float32 D [64, N]: register i of thread t = 0..127 of the warpgroup
SOFTMPC_HD constexpr Place wgmma_accumulator(int t, int i) {
  return {16 * (t / 32) + t % 32 / 4 + 8 * (i / 2 % 2), 8 * (i / 4) + t % 4 * 2 + i % 2};
}
// wgmma m64nNk16, 16-bit A [64, 16] in registers: element i = 0..7, two to a register
SOFTMPC_HD constexpr Place wgmma_a(int t, int i) {
  const Place p = a_fragment(t % 32, i);
  return {16 * (t / 32) + p.row, p.column};
}

}  // namespace softmpc::cuda
