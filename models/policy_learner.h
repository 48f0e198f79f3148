// SPDX-License-Identifier: Apache-2.0
// The policy network of the variants that have one.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

#include "learners.h"
#include "stacked_mlp.h"

namespace softmpc {

/// Deterministic policy mu(x) = mid + half tanh(net(x)), trained by the deterministic policy
/// gradient (Silver et al. 2014) on -Q.
class PolicyLearner {
 public:
  PolicyLearner(const PolicyConfig& config, int nx, std::vector<float> low, std::vector<float> high,
                std::uint64_t seed);
  /// One gradient step; moves the target policy.
  void update(const ReplayBatch& batch, CriticLearner& critic);
  /// mu(x) or mu_target(x) for `rows` states: [N, nu].
  std::vector<float> act(const std::vector<float>& x, int rows, bool target);

  NetWeights& exported() { return exported_; }
  const NetWeights& exported() const { return exported_; }
  NetWeights& exported_target() { return exported_target_; }
  void export_weights();
  void save(TensorFile& file) const;
  void load(const TensorFile& file);

 private:
  at::Tensor squash(const at::Tensor& tanh_output) const;
  at::Tensor input(const std::vector<float>& x, int rows) const;

  PolicyConfig config_;
  std::vector<float> low_, high_;
  at::Tensor mid_, half_;  // [nu]
  StackedMlp net_, target_;
  Adam adam_;
  NetWeights exported_, exported_target_;
};

}  // namespace softmpc
