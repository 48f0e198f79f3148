// SPDX-License-Identifier: Apache-2.0
// Nets (net.h) as the parts of a planner: dynamics, terminal value, policy.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "softmpc/config.h"
#include "softmpc/model.h"
#include "softmpc/net.h"

namespace softmpc {

/// What a member's outputs mean: state change [nx], then reward and termination logit where they
/// are learned; anything behind (log-variances) serves training only.
struct MemberOutputs {
  bool reward = false;
  bool termination = false;
  bool operator==(const MemberOutputs&) const = default;
};

/// `wanted` itself or, of `automatic`, the precision in which this CPU evaluates a net of this
/// shape faster, measured now (some milliseconds).
Precision resolve_precision(Precision wanted, const NetSpec& spec);
/// The same for the members that `config` describes, on the device that it trains on.
Precision resolve_precision(const Config& config, int nx, int nu);
/// As in the settings: "float32", "bfloat16", "auto".
const char* to_string(Precision precision);

class PackedMlp;  // weights in the order that the kernels read; private to src/

/// Learned dynamics x' = x + f_m(x, a).
class MlpDynamics final : public DynamicsModel {
 public:
  /// `precision` must be resolved.
  MlpDynamics(const NetWeights& weights, int nx, int nu, MemberOutputs outputs = {},
              Precision precision = Precision::float32);
  /// Evaluates weights that a trainer changes in place.
  MlpDynamics(std::shared_ptr<PackedMlp> net, int nx, int nu, MemberOutputs outputs);
  ~MlpDynamics() override;
  /// Copies new weights of the same shape; no allocation.
  void update(const NetWeights& weights);
  int members() const override;
  std::size_t scratch_bytes(int count) const override;
  bool predicts_reward() const override { return outputs_.reward; }
  bool predicts_termination() const override { return outputs_.termination; }
  void step(int member, ConstColumns x, ConstColumns a, int count, const StepResult& out,
            void* scratch) const override;
  void first_step(int member, std::span<const LaneRun> runs, ConstColumns x, ConstColumns a,
                  int count, const StepResult& out, void* scratch) const override;
  bool read_network(NetWeights& weights) const override;

 private:
  int nx_, nu_;
  MemberOutputs outputs_;
  std::shared_ptr<PackedMlp> net_;
};

/// How the values of several critics become one.
enum class Reduction { least, mean };

/// Learned Q(x, a): one critic of a stack, or the least or mean of all.
class MlpValue final : public TerminalValue {
 public:
  MlpValue(const NetWeights& weights, int nx, int nu, int index = 0);
  MlpValue(const NetWeights& weights, int nx, int nu, Reduction over);
  /// Evaluates weights that a trainer changes in place.
  MlpValue(std::shared_ptr<PackedMlp> net, int nx, int nu, int index);
  ~MlpValue() override;
  void update(const NetWeights& weights);
  std::size_t scratch_bytes(int count) const override;
  void evaluate(ConstColumns x, ConstColumns a, int count, float* out,
                void* scratch) const override;
  bool read_network(NetWeights& weights) const override;

 private:
  const float* run(int critic, ConstColumns x, ConstColumns a, int count, float* scratch) const;

  int nx_, nu_;
  int first_ = 0, count_ = 1;  // critics of the stack
  Reduction over_ = Reduction::least;
  std::shared_ptr<PackedMlp> net_;
};

/// mu(x) = mid + half-range * tanh(net(x)), component by component.
class MlpPolicy final : public Policy {
 public:
  MlpPolicy(const NetWeights& weights, std::span<const float> low, std::span<const float> high);
  ~MlpPolicy() override;
  void update(const NetWeights& weights);
  std::size_t scratch_bytes(int count) const override;
  void evaluate(ConstColumns x, int count, Columns action, void* scratch) const override;
  bool read_network(NetWeights& weights) const override;

 private:
  std::vector<float> low_, high_;
  std::unique_ptr<PackedMlp> net_;
};

}  // namespace softmpc
