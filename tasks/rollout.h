// SPDX-License-Identifier: Apache-2.0
// What the rollout rules of all tasks share: small host-device helpers, and the RewardModel that
// runs a task's rules over a block of lanes.
#pragma once

#include <limits>

#include "softmpc/hd/macros.h"
#include "softmpc/model.h"

namespace softmpc::tasks {

// |a|^2 over the first `size` entries
template <int size, class T = float, class Vector>
SOFTMPC_HD T squared_norm(const Vector& a) {
  T sum = 0;
  for (int i = 0; i < size; ++i) sum += static_cast<T>(a[i]) * static_cast<T>(a[i]);
  return sum;
}

// [low < value < high]; & instead of && keeps loops over lanes free of branches
template <class T>
SOFTMPC_HD bool inside(T value, double low, double high) {
  return (value > static_cast<T>(low)) & (value < static_cast<T>(high));
}

/// A task's rules as a RewardModel. `Rules` has static host-device functions
///   float reward(x, a, next)   and, where `has_termination`,   bool terminated(next).
template <class Rules>
class TaskReward final : public RewardModel {
 public:
  void reward(ConstColumns x, ConstColumns a, ConstColumns next, int count,
              float* out) const override {
    float* __restrict result = out;  // no alias checks, so that the loop vectorises
    for (int j = 0; j < count; ++j) result[j] = Rules::reward(x.lane(j), a.lane(j), next.lane(j));
  }
  bool has_termination() const override { return Rules::has_termination; }
  void terminated(ConstColumns next, int count, std::uint8_t* out) const override {
    for (int j = 0; j < count; ++j) {
      if constexpr (Rules::has_termination) {
        out[j] = Rules::terminated(next.lane(j)) ? 1 : 0;
      } else {
        out[j] = 0;
      }
    }
  }
};

/// The termination alone, for tasks whose reward is learned; reward() gives NaN.
template <class Rules>
class TaskTermination final : public RewardModel {
 public:
  void reward(ConstColumns, ConstColumns, ConstColumns, int count, float* out) const override {
    for (int j = 0; j < count; ++j) out[j] = std::numeric_limits<float>::quiet_NaN();
  }
  bool has_termination() const override { return true; }
  void terminated(ConstColumns next, int count, std::uint8_t* out) const override {
    for (int j = 0; j < count; ++j) out[j] = Rules::terminated(next.lane(j)) ? 1 : 0;
  }
};

}  // namespace softmpc::tasks
