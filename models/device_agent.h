// SPDX-License-Identifier: Apache-2.0
// The agent whose networks, planners and replay are on a CUDA device. The host keeps the records of
// the replay (it made them) and learns of the plans when a checkpoint asks.
#pragma once

#include <memory>
#include <vector>

#include "agent.h"
#include "train/device_trainer.h"

namespace softmpc {

class DeviceAgent final : public Agent {
 public:
  /// `device` null: the first one. Throws UsageError for settings that need the CPU, Error where
  /// there is no device.
  DeviceAgent(const Config& config, const Task& task, ThreadPool& pool,
              std::shared_ptr<cuda::Device> device = nullptr);

  void start_episode(int environment, std::uint32_t episode) override;
  std::span<const float> act(std::span<const float> x, std::int64_t step) override;
  std::span<const double> values() const override { return trainer_->value(); }
  std::span<const double> effective_samples() const override {
    return trainer_->effective_samples();
  }
  void store(int environment, std::span<const float> x, std::span<const float> next, float reward,
             bool terminated) override;
  void finish(UpdateSums& sums) override;
  /// Says float32 where the device plans with float16, so that any machine can use it.
  Bundle bundle() const override;
  void save(TensorFile& file) override;
  void load(const TensorFile& file) override;
  void replay_restored() override;

 private:
  void learn(Round round, const Simulation* beside, UpdateSums& sums) override;
  void fetch_plans();

  MemberOutputs outputs_;
  cuda::TrainWeights nets_;  // shapes and normalisation; weights are fetched
  std::unique_ptr<cuda::DeviceTrainer> trainer_;
  std::vector<float> action_;  // of the last act() [N, nu]
  std::vector<float> no_plan_;
};

}  // namespace softmpc
