// SPDX-License-Identifier: Apache-2.0
// Where the dense kernels read a net's parameters: each slot of its table in groups of kGroup rows,
// [groups, cols, kGroup], a bias being one column. Rows that fill up the last group are zero.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "cpu/kernels.h"
#include "softmpc/net.h"

namespace softmpc {

class PackedLayout {
 public:
  /// Offsets of one layer's slots.
  struct Layer {
    int in, out;
    std::size_t weight, bias;
    std::size_t norm;   ///< LayerNorm's scale, its shift behind
    std::size_t pairs;  ///< of the weight in bfloat16
  };

  explicit PackedLayout(const NetSpec& spec);

  const std::vector<Layer>& layers() const { return layers_; }
  std::size_t floats() const { return floats_; }  ///< of one net
  std::size_t pairs() const { return pairs_; }    ///< of one net

  /// Between NetWeights::parameters of a stack and [stack, floats()]; no allocation.
  void pack(int stack, std::span<const float> parameters, float* packed) const;
  void unpack(int stack, const float* packed, std::span<float> parameters) const;
  std::vector<float> unpack(int stack, const float* packed) const;

 private:
  struct Slot {
    int rows, cols;
    std::size_t packed;  ///< offset in one net
    std::size_t at(int row, int col) const {
      return packed + (static_cast<std::size_t>(row / cpu::kGroup) * cols + col) * cpu::kGroup +
             row % cpu::kGroup;
    }
  };
  /// Calls f(index in parameters, offset in packed).
  template <class F>
  void over_parameters(int stack, const F& f) const;

  std::vector<Slot> slots_;
  std::vector<Layer> layers_;
  std::size_t parameters_ = 0, floats_ = 0, pairs_ = 0;
};

}  // namespace softmpc
