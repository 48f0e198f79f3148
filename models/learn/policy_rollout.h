// SPDX-License-Identifier: Apache-2.0
// The value gradient of a policy: how the soft return of H model steps under mu changes with mu's
// outputs (SVG(H), Heess et al. 2015, arXiv 1510.09142, through the ensemble and the critic).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "learn/fused_mlp.h"
#include "learn/learner.h"
#include "learn/learners.h"
#include "planner_inputs.h"

namespace softmpc {

/// L = -1/N sum over the batch of
///   sum_{t<H} gamma^t alive_t r_t + gamma^H alive_H Q(x_H, mu(x_H))
///   - lambda/2 sum_{t<=H} gamma^t alive_t v_t' Sigma^-1 v_t,   v_t = mu(x_t) - n,
/// where the last line is what the Gaussian prior charges a plan, r_t the learned reward, one
/// member serves a step, Q is the first critic, and alive ends with a predicted termination.
class PolicyRollout {
 public:
  explicit PolicyRollout(const LearnerSetup& setup);

  /// Rolls `policy` out from the batch's states. `update` keys the members' draw.
  void forward(const ReplayBatch& batch, const EnsembleLearner& members, const FusedMlp& policy,
               const NetNormalisation& policy_normalisation, std::uint32_t update);
  /// And back, through the nets of forward() and the critic.
  void backward(const EnsembleLearner& members, const CriticLearner& critics,
                const FusedMlp& policy, const NetNormalisation& policy_normalisation);

  /// After forward(), the first `steps` steps for the critics: (x_t, mu(x_t)) with
  ///   y_t = r_t + gamma (y_{t+1} - lambda/2 v_{t+1}' Sigma^-1 v_{t+1}),  t < H,
  ///   y_t = r_t - c where step t ends the rollout, c = planner.termination_cost,
  ///   y_H = min over target critics Q(x_H, mu(x_H))
  /// (model-based value expansion, Feinberg et al. 2018, arXiv 1803.00101, in soft returns).
  const ImaginedRows& imagine(const CriticLearner& critics, int steps);

  /// The policy's inputs of all steps, [nx, (H+1) lanes], for one update on all of them.
  const TrainBlock& input() const { return input_; }
  /// dL/dz there, z being what the policy's net puts out: [nu, (H+1) lanes].
  const TrainBlock& gradient() const { return gradient_; }

 private:
  struct Step {
    TrainBlock x, action, unit;  // [nx], [nu], tanh(z) [nu]
    std::vector<float> alive, reward;
    TrainBlock policy_input, model_input;
    TrainScratch policy, model;
    int member = 0;
  };

  void start(const ReplayBatch& batch, std::uint32_t update, int members);
  void act(int t, const FusedMlp& policy, const NetNormalisation& normalisation);
  void advance(int t, const EnsembleLearner& members);
  void end_episodes(int t, const float* model_output);
  void back_through_critic(const CriticLearner& critics);
  void back_through_model(int t, const EnsembleLearner& members);
  void back_through_policy(int t, const FusedMlp& policy, const NetNormalisation& normalisation);
  void ask_critics(const CriticLearner& critics);
  float price_slope(float discount, int i, const std::vector<float>& v) const;
  void depart(int t, int row, std::vector<float>& v) const;
  float price(int t, int row, std::vector<float>& v) const;
  void add_price(int t);

  LearnerSetup setup_;
  PlannerConstants constants_;
  std::vector<Step> steps_;  // [H+1]
  TrainBlock critic_input_;
  TrainScratch critic_;
  std::vector<std::uint8_t> terminated_;
  TrainBlock dx_, da_;  // dL/dx_t, dL/da_t of the step that the way back has reached
  TrainBlock input_, gradient_;
  ImaginedRows imagined_;
};

}  // namespace softmpc
