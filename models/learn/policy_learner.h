// SPDX-License-Identifier: Apache-2.0
// The policy network of the variants that have one.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "learn/learners.h"

namespace softmpc {

/// Deterministic policy mu(x) = mid + half tanh(net(x)), trained by the deterministic policy
/// gradient (Silver et al. 2014) on -Q.
class PolicyLearner {
 public:
  PolicyLearner(const PolicyConfig& config, int nx, std::vector<float> low, std::vector<float> high,
                std::uint64_t seed);
  /// One gradient step; moves the target policy. `normalisation` is the policy's own.
  void update(const ReplayBatch& batch, CriticLearner& critic,
              const NetNormalisation& normalisation);

  NetWeights weights(const NetNormalisation& normalisation) const {
    return net_.weights(normalisation);
  }
  NetWeights target_weights(const NetNormalisation& normalisation) const {
    return target_.weights(normalisation);
  }
  void save(TensorFile& file) const;
  void load(const TensorFile& file);

 private:
  PolicyConfig config_;
  std::vector<float> low_, high_;
  FusedMlp net_, target_;
  TrainBlock input_;
  TrainScratch scratch_;
  std::vector<float> unit_, action_;  // [N, nu] tanh(net(x)), mu(x)
};

}  // namespace softmpc
