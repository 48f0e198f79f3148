// SPDX-License-Identifier: Apache-2.0
// Weights of a stack of MLPs in the order that the dense kernel reads, and their evaluation.
#pragma once

#include <vector>

#include "cpu/aligned.h"
#include "cpu/kernels.h"
#include "softmpc/network.h"

namespace softmpc {

class PackedMlp {
 public:
  /// `outputs`: how many of the last layer's outputs are wanted (the first ones); 0: all.
  PackedMlp(const MlpWeights& weights, cpu::Activation output_activation, int outputs = 0);

  /// Packs weights of the same shape; no allocation. Throws Error if the shape differs.
  void update(const MlpWeights& weights);

  int stack() const { return stack_; }
  int inputs() const { return sizes_.front(); }
  int outputs() const { return outputs_; }

  /// Floats of scratch for a block of `lanes` lanes (a multiple of cpu::kLanes).
  std::size_t scratch_floats(int lanes) const;
  /// Rows of the input block; the caller writes the raw input there before run().
  float* input(float* scratch) const { return scratch; }
  /// Evaluates network `index` on the input block in `scratch`, whose rows are `lanes` long, and
  /// returns [outputs, lanes], denormalised, inside scratch.
  const float* run(int index, float* scratch, int lanes) const;

 private:
  struct Layer {
    int in, out;
    std::size_t weight_size, bias_size;  // packed floats of one network
    cpu::AlignedFloats weight, bias;     // [stack, ...]
  };
  int stack_;
  int outputs_;
  std::vector<int> sizes_;
  cpu::Activation output_activation_;
  std::vector<Layer> layers_;
  int widest_ = 0;  // rows of an activation block: the widest layer in whole groups
  bool normalise_input_ = false, normalise_output_ = false;
  std::vector<float> input_mean_, input_scale_, output_mean_, output_std_;
};

}  // namespace softmpc
