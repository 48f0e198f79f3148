// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "softmpc/hd/macros.h"

namespace softmpc::cuda {

/// Where the parameters of one network lie: true sizes, layer by layer weight [out, in], bias
/// [out].
struct ParameterPlaces {
  int in, hidden, layers, out;
  SOFTMPC_HD constexpr int inputs(int l) const { return l == 0 ? in : hidden; }
  SOFTMPC_HD constexpr int outputs(int l) const { return l == layers ? out : hidden; }
  SOFTMPC_HD constexpr int weight(int l) const {
    return l == 0 ? 0 : hidden * in + hidden + (l - 1) * (hidden * hidden + hidden);
  }
  SOFTMPC_HD constexpr int bias(int l) const { return weight(l) + inputs(l) * outputs(l); }
  SOFTMPC_HD constexpr int count() const { return bias(layers) + out; }
};

}  // namespace softmpc::cuda
