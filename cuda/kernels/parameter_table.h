// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace softmpc::cuda {

inline constexpr int kMostLayers = 16;  // the head included

/// Where the parameters of one net lie: the offsets of NetSpec::for_each_slot, which the host
/// copies here (parameter_table() of net.h).
struct ParameterTable {
  int weight[kMostLayers];                               ///< of layer l [out, in]
  int bias[kMostLayers];                                 ///< [out]
  int norm_scale[kMostLayers], norm_shift[kMostLayers];  ///< [out], where a layer has LayerNorm
  int size;                                              ///< parameters of one net
};

}  // namespace softmpc::cuda
