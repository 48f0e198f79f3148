// SPDX-License-Identifier: Apache-2.0
// The simulator itself as a dynamics model.
#pragma once

#include <mutex>
#include <vector>

#include "mujoco_task.h"
#include "softmpc/model.h"

namespace softmpc::tasks {

/// x' = observe(simulate(recover(x), a)): a function of (x, a) alone, since every lane starts from
/// mj_resetData. Lanes that are not finite or become unstable give NaN. Velocities that the
/// observation clips start from the clipped value. One member; `task` must outlive the model.
class MujocoDynamics final : public DynamicsModel {
 public:
  MujocoDynamics(const MujocoTask& task, const TaskOptions& options);

  int members() const override { return 1; }
  std::size_t scratch_bytes(int) const override { return 0; }
  void step(int member, ConstColumns x, ConstColumns a, int count, const StepResult& out,
            void* scratch) const override;

 private:
  /// Simulator data and buffers of one calling thread.
  struct Worker {
    DataPointer data;
    std::vector<double> observation;  // [nx]
  };
  std::unique_ptr<Worker> borrow() const;
  void give_back(std::unique_ptr<Worker> worker) const;
  bool step_lane(Worker& worker, ConstLane x, ConstLane a) const;

  const MujocoTask& task_;
  const mjModel& model_;
  TaskOptions view_;
  int nx_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Worker>> idle_;
};

}  // namespace softmpc::tasks
