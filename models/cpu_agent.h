// SPDX-License-Identifier: Apache-2.0
// The agent that plans on the CPU and learns through a Learner: everything that a setting offers.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "agent.h"
#include "cpu/aligned.h"
#include "learn/learner.h"
#include "planner_targets.h"
#include "softmpc/planner.h"

namespace softmpc {

class CpuAgent final : public Agent {
 public:
  CpuAgent(const Config& config, const Task& task, ThreadPool& pool);

  void start_episode(int environment, std::uint32_t episode) override;
  std::span<const float> act(std::span<const float> x, std::int64_t step) override;
  std::span<const double> values() const override { return value_; }
  std::span<const double> effective_samples() const override { return samples_; }
  void store(int environment, std::span<const float> x, std::span<const float> next, float reward,
             bool terminated) override;
  Bundle bundle() const override;
  void save(TensorFile& file) override;
  void load(const TensorFile& file) override;

 private:
  void learn(Round round, const Simulation* beside, UpdateSums& sums) override;
  bool learns_model() const override { return !simulator_; }
  void critic_update(UpdateSums& sums);
  void compute_targets(const ReplayBatch& batch);
  void refresh_normalisation();
  Models models(bool target, int critic) const;
  std::vector<float> policy_actions(std::span<const float> x, int rows, bool target);
  std::vector<float> least_target_values(std::span<const float> x, std::span<const float> a,
                                         int rows);

  std::unique_ptr<DynamicsModel> simulator_;  // model.source = environment
  MemberOutputs outputs_;
  std::unique_ptr<Learner> learner_;
  std::unique_ptr<Planner> planner_;
  std::optional<PlannerTargets> planner_targets_;

  std::vector<float> plan_, action_;     // of the last act(): [N, H+1, nu], [N, nu]
  std::vector<double> value_, samples_;  // [N]
  std::vector<PlanStatus> status_;       // [N]

  std::vector<float> targets_;      // y of an update [N]
  cpu::AlignedFloats net_scratch_;  // of a net's evaluation
};

}  // namespace softmpc
