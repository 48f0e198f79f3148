// SPDX-License-Identifier: Apache-2.0
// One controller's tick, in order: guards, the plan's move through time, the solve, the validator,
// the fallback, limits on the command, counters.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "control/black_box_writer.h"
#include "control/engine.h"
#include "control/loop_state.h"
#include "control/plan_clock.h"
#include "recent_slowest.h"
#include "softmpc/black_box.h"
#include "softmpc/controller.h"

namespace softmpc {

/// Values that the controller's thread gives and another may read: their mean and spread.
class ValueRange {
 public:
  void add(double value) noexcept;
  /// False if `value` is further from the mean than `times` the spread; true while fewer than two
  /// are known.
  bool holds(double value, double times) const noexcept;

 private:
  double count_ = 0, squares_ = 0;
  std::atomic<double> mean_{0}, deviation_{-1};  // negative: not known
};

struct Controller::Impl {
  Impl(std::unique_ptr<Engine> nets, ControllerOptions given);
  /// Warm from here on: pages, caches, a device's recorded launch. Throws Error where the plan from
  /// the middle of what training saw is none. What the plans are worth is what offered nets are
  /// compared with, until ticks add to it.
  void try_out();
  /// Without one where the file cannot be had: a recorder is no reason to stand still.
  void open_black_box();

  void reset();
  const Plan& plan_untimed(std::span<const float> observation);
  const Plan& plan(const PlanRequest& request) noexcept;
  /// Makes a recorded plan again; see Controller::replay.
  const Plan& replay(const BlackBoxRecord& record);
  std::optional<Solved> solved() const noexcept;
  void swap(std::unique_ptr<Engine>& other) noexcept;
  bool set_bounds(std::span<const float> low, std::span<const float> high) noexcept;
  bool set_parameters(std::span<const float> parameters) noexcept;

  std::span<const float> rest() const { return rest_; }
  std::span<const float> low() const { return loop_.low; }
  std::span<const float> high() const { return loop_.high; }
  std::string device() const { return engine_->planner->device(); }
  std::size_t state_size() const noexcept;
  bool save_state(std::span<std::byte> to) const noexcept;
  bool load_state(std::span<const std::byte> from) noexcept;

  // never changed: a Prepared is made from them on another thread
  const ControllerOptions options;
  const ProblemShape shape;  // of every engine that this controller will have
  const PlannerConfig config;
  const double dt;
  const std::string task;  // empty without a bundle
  const RewardModel* const reward;
  ValueRange values;
  Statistics statistics;
  std::string notes;

 private:
  bool follow(const LoopState& state) noexcept;
  LoopState recorded_state() const;
  void draw_plan();
  PlanStatus guard(const PlanRequest& request) const;
  void move_to(Nanoseconds time);
  void look_over_delay(std::span<const float> observation);
  void solve(std::span<const float> observation, SolveBudget::Clock::time_point deadline);
  PlanStatus try_to_plan(const PlanRequest& request) noexcept;
  void predict();
  PlanStatus judge(std::span<const float> observation);
  void fall_back(std::span<const float> observation);
  void shifted_action();
  void call_back(std::span<const float> observation);
  void limit();
  void forget_plan(PlanStatus status);
  void count(SolveBudget::Clock::time_point begin);
  std::int64_t delay() const { return options.command_delay.count(); }

  std::unique_ptr<Engine> engine_;
  std::unique_ptr<BlackBoxWriter> black_box_;  // null: none
  const BlackBoxRecord* replayed_ = nullptr;   // what cannot be computed again comes from it
  std::optional<SolveKey> solved_;             // of the last plan, if it was computed
  PlanClock clock_;
  LoopState loop_, spare_;    // the latter is what load_state() reads into
  RecentSlowest afterwards_;  // what follows a solve
  Plan result_;
  std::vector<float> neutral_, action_;   // [nu]
  std::vector<float> asked_rest_, rest_;  // [nu] of the options, and inside the bounds
  std::vector<float> moved_;              // [H+1, nu] the plan before the solve
  std::vector<float> from_;               // [nx] the state that is planned from
  std::vector<float> before_, planned_;   // [nx], [nu] of a step of the mean model
  std::vector<float> predicted_;          // [H+1, nx]
};

struct Prepared::Impl {
  std::unique_ptr<Engine> engine;
};

}  // namespace softmpc
