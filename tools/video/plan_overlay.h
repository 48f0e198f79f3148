// SPDX-License-Identifier: Apache-2.0
// What a controller had in mind at one step, as lines and words: its rollouts, its plan as the
// learned model sees it, and the same plan as the simulator would carry it out.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "softmpc/bundle.h"
#include "softmpc/renderer.h"
#include "softmpc/task.h"
#include "softmpc/train/trainer.h"

namespace softmpc {
struct Engine;
struct Explanation;
}  // namespace softmpc

namespace softmpc::tools {

struct OverlayParts {
  bool rollouts = true, plan = true, text = true;
};
/// "all", "none", or some of rollouts, plan, text with commas. Throws UsageError.
OverlayParts overlay_parts(const std::string& words);

class PlanOverlay {
 public:
  /// `renderer` is borrowed.
  PlanOverlay(const Bundle& bundle, const Task& task, Renderer& renderer,
              const OverlayParts& parts);
  ~PlanOverlay();

  /// Adds to `picture` what was in mind before this step.
  void add(const PlayStep& step, Picture& picture);

 private:
  using Row = std::span<const float>;

  void begin(const PlayStep& step);
  /// Paths [P] of the traced points: a row of `observations` [n, nx] each, the first at
  /// `positions`.
  std::vector<PictureLine> paths(Row observations, std::vector<double> positions) const;
  void extend(std::vector<PictureLine>& lines, std::span<const double> positions) const;
  void add_rollouts(const Explanation& explanation, Picture& picture) const;
  void add_model_plan(const PlayStep& step, Picture& picture);
  void add_simulated_plan(const PlayStep& step, Picture& picture);
  void add_text(const PlayStep& step, Picture& picture) const;
  /// What the plan does at step t in `x` [nx].
  std::vector<float> action(const PlayStep& step, int t, Row x) const;

  Bundle bundle_;
  TaskSpec spec_;
  Renderer& renderer_;
  OverlayParts parts_;
  std::unique_ptr<RewardModel> reward_;
  std::unique_ptr<DynamicsModel> dynamics_;
  std::unique_ptr<Environment> simulator_;
  std::unique_ptr<Engine> engine_;  // of the controller's nets, on the CPU; made at the first plan
  std::vector<double> positions_;   // [nq] of the environment, before the step
  std::vector<float> neutral_;      // [nu]
};

}  // namespace softmpc::tools
