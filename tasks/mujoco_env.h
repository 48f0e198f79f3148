// SPDX-License-Identifier: Apache-2.0
// Environment of a MuJoCo task: reset, step, save and load.
#pragma once

#include <array>

#include "mujoco_task.h"
#include "softmpc/environment.h"

namespace softmpc::tasks {

/// Per step: controls set, mj_step `frame_skip` times, mj_rnePostConstraint; observation and reward
/// then read the simulator as it stands, without another forward pass, as Gymnasium does. Steps may
/// go on beyond termination and time limit. `task` must outlive the environment.
class MujocoEnvironment final : public Environment {
 public:
  MujocoEnvironment(const MujocoTask& task, const TaskOptions& options);

  int observation_size() const override { return observation_size_; }
  int action_size() const override { return static_cast<int>(model_.nu); }
  void reset(std::uint64_t seed, std::span<double> observation) override;
  void reset_to(std::span<const double> positions, std::span<const double> velocities,
                std::span<double> observation) override;
  void read_state(std::vector<double>& positions, std::vector<double>& velocities) const override;
  Transition step(std::span<const float> action, std::span<double> observation) override;
  std::vector<std::byte> save() const override;
  void load(std::span<const std::byte> state) override;

 private:
  void start(const double* positions, const double* velocities, std::span<double> observation);
  void check_action(std::span<const float> action) const;
  void check_size(const char* what, std::size_t size, std::size_t expected) const;
  void write_observation(std::span<double> observation) const;
  std::uint64_t fingerprint() const;

  const MujocoTask& task_;
  const mjModel& model_;
  DataPointer data_;
  TaskOptions view_;
  int observation_size_;
  int time_limit_, frame_skip_;
  double dt_;
  std::int64_t steps_ = -1;  // of the episode; -1 before the first reset
  std::array<mjtNum, MujocoTask::kMemory> before_{};
};

}  // namespace softmpc::tasks
