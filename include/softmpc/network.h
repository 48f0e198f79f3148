// SPDX-License-Identifier: Apache-2.0
// Multi-layer perceptrons as plain arrays, and their fast batched evaluation.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "softmpc/config.h"
#include "softmpc/model.h"

namespace softmpc {

/// A stack of E equally shaped MLPs, SiLU between layers. Input is the observation, then the action
/// (a policy: the observation alone). Normalisation is part of the network:
///   z = (input - input_mean) / input_std,   output = output_mean + output_std * net(z).
/// The identity is mean 0 and std 1; input_std = infinity masks an input.
struct MlpWeights {
  int stack = 0;                               ///< E
  std::vector<int> sizes;                      ///< layer widths: in, hidden..., out
  std::vector<std::vector<float>> weight;      ///< per layer [E, out, in]
  std::vector<std::vector<float>> bias;        ///< per layer [E, out]
  std::vector<float> input_mean, input_std;    ///< [in]
  std::vector<float> output_mean, output_std;  ///< [out]

  int layers() const { return static_cast<int>(sizes.size()) - 1; }
  int inputs() const { return sizes.front(); }
  int outputs() const { return sizes.back(); }

  /// Zero weights and identity normalisation for the given widths (at least two, all positive).
  static MlpWeights zeros(int stack, std::vector<int> sizes);
  /// Throws Error naming `what` if an array has the wrong size.
  void validate_shape(const std::string& what) const;
  /// Throws Error naming `what` if an array has the wrong size or holds a non-finite weight.
  void validate(const std::string& what) const;
};

/// What a member's outputs mean: state change [nx], then reward and termination logit where they
/// are learned; anything behind (log-variances) serves training only.
struct MemberOutputs {
  bool reward = false;
  bool termination = false;
  bool operator==(const MemberOutputs&) const = default;
};

/// Widths of an MLP: in, `layers` hidden ones of `width`, out.
std::vector<int> layer_sizes(int in, int width, int layers, int out);

/// `wanted` itself or, of `automatic`, the precision in which this CPU evaluates a net of these
/// widths faster, measured now (some milliseconds).
Precision resolve_precision(Precision wanted, const std::vector<int>& sizes);
/// The same for the members that `config` describes.
Precision resolve_precision(const Config& config, int nx, int nu);
/// As in the settings: "float32", "bfloat16", "auto".
const char* to_string(Precision precision);

class PackedMlp;  // weights in the order that the kernels read; private to src/

/// Learned dynamics x' = x + f_m(x, a).
class MlpDynamics final : public DynamicsModel {
 public:
  /// `precision` must be resolved.
  MlpDynamics(const MlpWeights& weights, int nx, int nu, MemberOutputs outputs = {},
              Precision precision = Precision::float32);
  /// Evaluates weights that a trainer changes in place.
  MlpDynamics(std::shared_ptr<PackedMlp> net, int nx, int nu, MemberOutputs outputs);
  ~MlpDynamics() override;
  /// Copies new weights of the same shape; no allocation.
  void update(const MlpWeights& weights);
  int members() const override;
  std::size_t scratch_bytes(int count) const override;
  bool predicts_reward() const override { return outputs_.reward; }
  bool predicts_termination() const override { return outputs_.termination; }
  void step(int member, ConstColumns x, ConstColumns a, int count, const StepResult& out,
            void* scratch) const override;
  void first_step(int member, std::span<const LaneRun> runs, ConstColumns x, ConstColumns a,
                  int count, const StepResult& out, void* scratch) const override;
  bool read_network(MlpWeights& weights) const override;

 private:
  int nx_, nu_;
  MemberOutputs outputs_;
  std::shared_ptr<PackedMlp> net_;
};

/// Learned Q(x, a): critic `index` of a stack.
class MlpValue final : public TerminalValue {
 public:
  MlpValue(const MlpWeights& weights, int nx, int nu, int index = 0);
  /// Evaluates weights that a trainer changes in place.
  MlpValue(std::shared_ptr<PackedMlp> net, int nx, int nu, int index);
  ~MlpValue() override;
  void update(const MlpWeights& weights);
  std::size_t scratch_bytes(int count) const override;
  void evaluate(ConstColumns x, ConstColumns a, int count, float* out,
                void* scratch) const override;
  bool read_network(MlpWeights& weights) const override;

 private:
  int nx_, nu_, index_;
  std::shared_ptr<PackedMlp> net_;
};

/// mu(x) = mid + half-range * tanh(net(x)), component by component.
class MlpPolicy final : public Policy {
 public:
  MlpPolicy(const MlpWeights& weights, std::span<const float> low, std::span<const float> high);
  ~MlpPolicy() override;
  void update(const MlpWeights& weights);
  std::size_t scratch_bytes(int count) const override;
  void evaluate(ConstColumns x, int count, Columns action, void* scratch) const override;
  bool read_network(MlpWeights& weights) const override;

 private:
  std::vector<float> low_, high_;
  std::unique_ptr<PackedMlp> net_;
};

}  // namespace softmpc
