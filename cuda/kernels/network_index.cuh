// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "intrinsics.h"

namespace softmpc::cuda {

/// The network of each group of slots: one for all, or a table.
struct OneNetwork {
  static constexpr bool kSame = true;
  int network;
  SOFTMPC_DEVICE int operator()(int) const { return network; }
};
struct NetworkTable {
  static constexpr bool kSame = false;
  const int* table;
  SOFTMPC_DEVICE int operator()(int group) const { return table[group]; }
};

}  // namespace softmpc::cuda
