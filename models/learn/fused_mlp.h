// SPDX-License-Identifier: Apache-2.0
// A stack of E equally shaped MLPs that is trained in the order the planner reads it: forward,
// backward, gradient and Adam by the kernels of the planner, no copy between an update and a plan.
// Members are independent, so that several threads may each update one. Tests compare with autograd
// in double precision.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cpu/packed_mlp.h"
#include "io/safetensors.h"

namespace softmpc {

/// A batch as columns [rows, lanes]; lanes from `count` on are padding.
struct TrainBlock {
  int rows = 0, count = 0, lanes = 0;
  cpu::AlignedFloats data;
  float* row(int i) { return data.data() + static_cast<std::size_t>(i) * lanes; }
  void resize(int new_rows, int new_count);  ///< contents are zero afterwards
  const float* row(int i) const { return data.data() + static_cast<std::size_t>(i) * lanes; }
};

/// Activations and gradients of one update; one for each thread.
struct TrainScratch {
  std::vector<cpu::AlignedFloats> z, n, h;  // per layer: sums, behind LayerNorm, activations
  cpu::AlignedFloats dz, dh, turned;  // the present layer's dL/dz, its input's, dz batch-major
  cpu::AlignedFloats norm;            // gradient of LayerNorm's parameters
};

class FusedMlp {
 public:
  /// Trains nets with SiLU behind every layer but the head; throws UsageError for others.
  /// `spare`: updates write to a second copy of the weights, which publish() makes the present one;
  /// else in place. `planned`: how many outputs the planner reads; 0: all.
  FusedMlp(int stack, NetSpec spec, double learning_rate, bool spare = false, int planned = 0,
           Precision precision = Precision::float32);

  int stack() const { return stack_; }
  const NetSpec& spec() const { return spec_; }
  /// The weights that planners read; of two copies, `copy` says which.
  const std::shared_ptr<PackedMlp>& net(int copy = 0) const { return net_[copy]; }
  /// The copy that is present now.
  int active() const { return active_; }

  /// initial_parameters().
  void initialise(std::uint64_t seed, std::uint32_t network);

  /// Outputs [out, lanes] of network `index`, inside scratch; keeps what backward() needs.
  const float* forward(int index, const TrainBlock& input, TrainScratch& scratch) const;
  /// Where dL/dy [out, lanes] of the last forward() goes, zeroed.
  float* output_gradient(const TrainBlock& input, TrainScratch& scratch) const;
  /// Gradient of network `index` and one Adam step on its weights.
  void descend(int index, const TrainBlock& input, TrainScratch& scratch);
  /// dL/dx [in, lanes] alone, inside scratch.
  const float* input_gradient(int index, const TrainBlock& input, TrainScratch& scratch) const;
  /// Counts an Adam step; after it each network descends once.
  void begin_step() { ++steps_; }
  /// Makes what descend() wrote the present weights, with this normalisation.
  void publish(const NetNormalisation& normalisation);

  /// theta <- tau theta' + (1 - tau) theta, theta' being the present parameters of `online`, a
  /// stack of the same shape. Of float32 stacks alone.
  void follow(const FusedMlp& online, double tau);

  /// The present parameters, with this normalisation.
  NetWeights weights(const NetNormalisation& normalisation) const;

  /// Parameters and moments, for checkpoints: in the order of NetWeights::parameters.
  void save(TensorFile& file, const std::string& name) const;
  void load(const TensorFile& file, const std::string& name);
  /// The same for a network that is not trained itself: its parameters alone.
  void save_parameters(TensorFile& file, const std::string& name) const;
  void load_parameters(const TensorFile& file, const std::string& name);

 private:
  void backward(int index, const TrainBlock& input, TrainScratch& scratch, bool descend,
                bool input_gradient) const;
  cpu::PackedLayer linear(int index, std::size_t l) const;
  void norm_backward(int index, std::size_t l, int lanes, TrainScratch& scratch,
                     bool descend) const;

  int stack_;
  NetSpec spec_;
  double learning_rate_;
  std::shared_ptr<PackedMlp> net_[2];
  int copies_, active_ = 0;
  mutable cpu::AlignedFloats mean_, variance_;  // [E, floats] like the parameters
  std::int64_t steps_ = 0;
};

}  // namespace softmpc
