// SPDX-License-Identifier: Apache-2.0
// Sizes and views. Layout convention of the library:
//   B problems, K rollouts each, H horizon, nx state, nu action, E ensemble members; arrays are
//   row-major, problem before rollout before time before component: plan [B, H+1, nu].
//   Inside a batched evaluation the order is turned: component before lane ("columns"), so that
//   neighbouring rollouts are neighbours in memory and fill a vector register.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace softmpc {

/// Component i of one lane of a column block.
struct ConstLane {
  const float* data;
  int stride;
  float operator[](int i) const { return data[static_cast<std::ptrdiff_t>(i) * stride]; }
};

/// The same, writable.
struct Lane {
  float* data;
  int stride;
  float& operator[](int i) const { return data[static_cast<std::ptrdiff_t>(i) * stride]; }
};

/// Read-only column block [components, lanes]: component i of lane j is at data[i * stride + j].
struct ConstColumns {
  const float* data = nullptr;
  int stride = 0;
  const float* operator[](int i) const { return data + static_cast<std::ptrdiff_t>(i) * stride; }
  ConstLane lane(int j) const { return {data + j, stride}; }
};

/// Lanes [begin, end) of a block that belong to one problem.
struct LaneRun {
  int begin, end, problem;
};

/// Writable column block [components, lanes].
struct Columns {
  float* data = nullptr;
  int stride = 0;
  float* operator[](int i) const { return data + static_cast<std::ptrdiff_t>(i) * stride; }
  Lane lane(int j) const { return {data + j, stride}; }
  operator ConstColumns() const { return {data, stride}; }
};

/// Operands of the products between hidden layers of the dynamics ensemble in a planner; its first
/// and last layer, states, sums, costs and the critic are float32 always. `automatic` is resolved
/// once, by measurement (resolve_precision). float16 needs a CUDA device, which uses it for all
/// layers and splits the critic's operands (cuda.h).
enum class Precision { float32, bfloat16, automatic, float16 };
enum class Prior { gaussian, uniform };
enum class ControlMode { plain, mean_residual, policy_residual };
enum class Proposals { plan, plan_and_policy };
/// Where plans are computed. `automatic` is cuda where a device can be used, else cpu; whatever was
/// chosen says so.
enum class Device : std::uint8_t { cpu, cuda, automatic };
enum class MemberDraw { per_step, per_rollout_step, per_rollout };

/// Outcome of one problem of a solve, and of a controller's tick. The numbers stay as they are:
/// logs and the C interface hold them.
enum class PlanStatus : std::uint8_t {
  ok = 0,
  all_invalid = 1,  ///< uniform prior: every rollout left the box, so all of them count
  not_finite = 2,   ///< no rollout has a finite cost; the plan is returned unchanged, value is NaN
  bad_state = 3,    ///< the observation holds NaN or infinity; the plan is returned unchanged
  deadline = 4,     ///< planned with the rollouts that were done in time
  no_time = 5,      ///< too few were; the plan is returned unchanged, value is NaN
  // of a controller (controller.h)
  rejected = 6,        ///< the validator did not let the plan pass
  stale_state = 7,     ///< the observation is older than max_state_age
  unlikely_state = 8,  ///< the observation is far outside what training saw
  user_error = 9,      ///< a model of the user's threw
  device_fault = 10,   ///< the device failed
};
inline constexpr int kPlanStatuses = 11;

/// Whether the action of such a plan comes from a finished solve.
constexpr bool usable(PlanStatus status) {
  return status == PlanStatus::ok || status == PlanStatus::all_invalid ||
         status == PlanStatus::deadline;
}

const char* to_string(PlanStatus status);
/// "cpu", "cuda" or "auto".
const char* to_string(Device device);
/// The reverse. Throws UsageError naming `what` (the option or setting), the value and the names.
Device parse_device(std::string_view text, std::string_view what);

}  // namespace softmpc
