// SPDX-License-Identifier: Apache-2.0
// Loading of models, and MuJoCo's process-wide handlers made local to a thread.
#include "mujoco_model.h"

#include <array>
#include <cmath>
#include <cstdio>
#include <mutex>

#include "softmpc/error.h"

namespace softmpc::tasks {
namespace {

thread_local int scope_depth = 0;
void (*outer_warning)(const char*) = nullptr;

void on_warning(const char* text) {
  if (scope_depth > 0) return;
  if (outer_warning != nullptr) {
    outer_warning(text);
  } else {
    std::fprintf(stderr, "WARNING: %s\n", text);
  }
}

// must not return: MuJoCo would go on with what it called an error
void on_error(const char* text) { throw Error(std::string("MuJoCo: ") + text); }

void install_handlers() {
  static std::once_flag once;
  std::call_once(once, [] {
    outer_warning = mju_user_warning;
    mju_user_warning = on_warning;
    if (mju_user_error == nullptr) mju_user_error = on_error;
  });
}

}  // namespace

MujocoScope::MujocoScope() {
  install_handlers();
  ++scope_depth;
}

MujocoScope::~MujocoScope() { --scope_depth; }

ModelPointer parse_model(const std::string& task, std::string_view mjcf) {
  const MujocoScope quiet;
  std::array<char, 1024> message{};
  const std::string text(mjcf);
  const std::unique_ptr<mjSpec, MujocoDeleter> spec(
      mj_parseXMLString(text.c_str(), nullptr, message.data(), static_cast<int>(message.size())));
  if (!spec) throw Error(task + ": MJCF is not readable: " + message.data());
  ModelPointer model(mj_compile(spec.get(), nullptr));
  if (!model) throw Error(task + ": MJCF does not compile: " + mjs_getError(spec.get()));
  return model;
}

DataPointer make_data(const mjModel& model) {
  const MujocoScope quiet;
  DataPointer data(mj_makeData(&model));
  if (!data) throw Error("MuJoCo: out of memory for the simulation's data");
  return data;
}

std::string instability(const mjModel& model, const mjData& data) {
  constexpr std::array<std::pair<int, const char*>, 3> kinds = {{{mjWARN_BADQPOS, "position"},
                                                                 {mjWARN_BADQVEL, "velocity"},
                                                                 {mjWARN_BADQACC, "acceleration"}}};
  for (const auto& [warning, what] : kinds) {
    if (data.warning[warning].number > 0) {
      return std::string("NaN, infinite or huge ") + what + " at degree of freedom " +
             std::to_string(data.warning[warning].lastinfo);
    }
  }
  for (int i = 0; i < model.nq; ++i) {
    if (!std::isfinite(data.qpos[i])) return "position " + std::to_string(i) + " is not finite";
  }
  for (int i = 0; i < model.nv; ++i) {
    if (!std::isfinite(data.qvel[i])) return "velocity " + std::to_string(i) + " is not finite";
  }
  return {};
}

}  // namespace softmpc::tasks
