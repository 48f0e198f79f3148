// SPDX-License-Identifier: Apache-2.0
// Blocks of lanes as Eigen arrays, for models written as array expressions. Needs Eigen; no
// other header does.
#pragma once

#include <Eigen/Core>

#include "softmpc/types.h"

namespace softmpc {

using RowArray = Eigen::Array<float, 1, Eigen::Dynamic>;
using BlockArray = Eigen::Array<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// Component i of all lanes, [count].
inline Eigen::Map<const RowArray> row(ConstColumns x, int i, int count) { return {x[i], count}; }
inline Eigen::Map<RowArray> row(Columns x, int i, int count) { return {x[i], count}; }
/// A model's result, one number a lane, [count].
inline Eigen::Map<RowArray> row(float* out, int count) { return {out, count}; }

/// Components 0..n-1 of all lanes, [n, count].
inline Eigen::Map<const BlockArray, 0, Eigen::OuterStride<>> rows(ConstColumns x, int n,
                                                                  int count) {
  return {x.data, n, count, Eigen::OuterStride<>(x.stride)};
}
inline Eigen::Map<BlockArray, 0, Eigen::OuterStride<>> rows(Columns x, int n, int count) {
  return {x.data, n, count, Eigen::OuterStride<>(x.stride)};
}

}  // namespace softmpc
