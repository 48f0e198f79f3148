// SPDX-License-Identifier: Apache-2.0
// How good model and critic are, judged on transitions that came after the judged nets: values for
// the "train" lines. models/README.md says what each of them is.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "io/safetensors.h"
#include "replay.h"
#include "softmpc/bundle.h"
#include "softmpc/model.h"
#include "softmpc/thread_pool.h"

namespace softmpc {

struct DiagnosticsWindow;

class Diagnostics {
 public:
  /// Transitions that are judged at once, the latest; rounded to whole steps of all environments.
  static constexpr std::int64_t kWindow = 2000;
  /// A return counts if no more than this share of its discounts belongs to rewards not seen.
  static constexpr double kUnseenShare = 0.05;

  /// `reward` as make_rollout_reward gives it; `environments` step side by side.
  Diagnostics(int environments, std::unique_ptr<RewardModel> reward);

  /// What the replay does not hold of the transition added last: the value V of the plan that chose
  /// its action, and whether an episode ended with it. To be called environment after environment.
  void add(double plan_value, bool ended);

  /// Judges the nets of the last call on the transitions that `replay` got since, if there was one;
  /// then waits for those that follow `nets`. A value without data is left out of `values`.
  void judge(const Replay& replay, Bundle nets, ThreadPool& pool,
             std::map<std::string, double>& values);

  void save(TensorFile& file) const;
  /// `shape` has nets of the shapes that were saved. A checkpoint of a version without diagnostics
  /// gives an empty window.
  void load(const TensorFile& file, Bundle shape);

 private:
  struct Row {
    double plan_value;
    bool ended;
  };
  std::int64_t window_rows() const;
  DiagnosticsWindow window(const Replay& replay, int steps) const;

  int environments_;
  std::unique_ptr<RewardModel> reward_;
  std::optional<Bundle> nets_;  // as they were when the window began
  std::deque<Row> rows_;        // of the window, in the replay's order
};

}  // namespace softmpc
