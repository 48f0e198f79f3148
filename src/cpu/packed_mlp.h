// SPDX-License-Identifier: Apache-2.0
// Weights of a stack of MLPs in the order that the dense kernels read, and their evaluation. A
// trainer keeps its parameters here too, so that nothing is copied between an update and a plan.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "cpu/aligned.h"
#include "cpu/packed_layout.h"
#include "softmpc/network.h"

namespace softmpc {

class OneDnnMlp;

/// Lanes of a run have the same first `inputs` inputs; no runs: nothing is known.
struct SharedInputs {
  std::span<const LaneRun> runs = {};
  int inputs = 0;
};

class PackedMlp {
 public:
  /// `outputs`: how many of the last layer's outputs are wanted (the first ones); 0: all.
  PackedMlp(const NetWeights& weights, Activation output_activation, int outputs = 0,
            Precision precision = Precision::float32);
  ~PackedMlp();

  /// Packs weights of the same shape; no allocation. Throws Error if the shape differs.
  void update(const NetWeights& weights);
  /// A copy of the networks: as they were given, but for an activation of the outputs, whose scale
  /// and shift are part of the last layer.
  NetWeights weights() const;
  /// Of the same sizes; no allocation.
  void set_normalisation(const NetNormalisation& normalisation);

  // for a trainer: parameters in place; refresh() after they changed
  const PackedLayout& layout() const { return layout_; }
  float* network(int index) { return parameters_.data() + index * layout_.floats(); }
  const float* network(int index) const { return parameters_.data() + index * layout_.floats(); }
  void refresh(int index);
  cpu::PackedLayer layer(int index, std::size_t l) const;
  /// LayerNorm of layer l, which has one.
  cpu::NormLayer norm(int index, std::size_t l) const;

  int stack() const { return stack_; }
  int inputs() const { return spec_.inputs; }
  int outputs() const { return outputs_; }
  Precision precision() const { return precision_; }

  /// Floats of scratch for a block of `lanes` lanes (a multiple of cpu::kLanes).
  std::size_t scratch_floats(int lanes) const;
  /// Rows of the input block; the caller writes the raw input there before run().
  float* input(float* scratch) const { return scratch; }
  /// Evaluates network `index` on the input block in `scratch`, whose rows are `lanes` long, and
  /// returns [outputs, lanes], denormalised, inside scratch.
  const float* run(int index, float* scratch, int lanes, const SharedInputs& shared = {}) const;

 private:
  void fold_outputs(float* net, const NetNormalisation& normalisation) const;
  void normalise(float* x, int lanes) const;
  cpu::PackedLayer first_layer(int index, const float* x, float* sums, int lanes,
                               const SharedInputs& shared) const;
  void dense(int index, std::size_t l, const cpu::PackedLayer& layer, const float* x, float* y,
             int lanes) const;
  const float* run_normalised_bfloat16(int index, const cpu::PackedLayer& first, float* x, float* y,
                                       int lanes) const;
  const float* run_float32(int index, const cpu::PackedLayer& first, float* x, float* y,
                           int lanes) const;
  const float* run_bfloat16(int index, const cpu::PackedLayer& first, float* x, float* y,
                            int lanes) const;

  int stack_;
  int outputs_;
  NetSpec spec_;
  Activation output_activation_;
  Precision precision_;
  PackedLayout layout_;
  cpu::AlignedFloats parameters_;                                             // [stack, floats()]
  std::vector<cpu::Bf16Pair, cpu::CacheLineAllocator<cpu::Bf16Pair>> pairs_;  // [stack, pairs()]
  std::unique_ptr<OneDnnMlp> onednn_;  // between hidden layers, in place of the kernels
  int widest_ = 0;  // rows of an activation block: the widest layer in whole cpu::kRows
  bool normalise_input_ = false, normalise_output_ = false;
  std::vector<float> input_mean_, input_std_, input_scale_, output_mean_, output_std_;
};

}  // namespace softmpc
