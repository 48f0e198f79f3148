// SPDX-License-Identifier: Apache-2.0
// MuJoCo's model and data as owned objects, and its warnings and errors as ours.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include <mujoco/mujoco.h>

namespace softmpc::tasks {

struct MujocoDeleter {
  void operator()(mjModel* model) const { mj_deleteModel(model); }
  void operator()(mjData* data) const { mj_deleteData(data); }
  void operator()(mjSpec* spec) const { mj_deleteSpec(spec); }
};
using ModelPointer = std::unique_ptr<mjModel, MujocoDeleter>;
using DataPointer = std::unique_ptr<mjData, MujocoDeleter>;

/// While one lives, MuJoCo's warnings on this thread are dropped (their counters in mjData are read
/// instead) and its errors are thrown as Error. Elsewhere in the process warnings stay as they
/// were.
class MujocoScope {
 public:
  MujocoScope();
  ~MujocoScope();
  MujocoScope(const MujocoScope&) = delete;
  MujocoScope& operator=(const MujocoScope&) = delete;
};

/// Compiles MJCF text; Error with the compiler's words if it is wrong.
ModelPointer parse_model(const std::string& task, std::string_view mjcf);
DataPointer make_data(const mjModel& model);

/// What MuJoCo found wrong with the state since the last mj_resetData, empty if nothing.
std::string instability(const mjModel& model, const mjData& data);

}  // namespace softmpc::tasks
