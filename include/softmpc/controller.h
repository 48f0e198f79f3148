// SPDX-License-Identifier: Apache-2.0
// The planner in a control loop: one robot, warm start from tick to tick. Two ways to ask for a
// plan: plan(observation), one call a model step, which throws on a wrong size and sends what the
// planner says; and plan(PlanRequest), which knows the time, keeps a deadline, never throws and
// always gives a command, with the reason in its status.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "softmpc/bundle.h"
#include "softmpc/nonblocking.h"
#include "softmpc/planner.h"
#include "softmpc/statistics.h"

namespace softmpc {

/// Times of one monotonic clock that the caller chooses, std::chrono::steady_clock for one; a
/// robot's clock starts above 0.
using Nanoseconds = std::chrono::nanoseconds;
inline constexpr SolveBudget::Clock::time_point no_deadline = SolveBudget::Clock::time_point::max();

/// One planned step. Spans stay valid until the next call.
struct Plan {
  std::span<const float> action;    ///< [nu] to execute: clip(n + u_0), or the fallback's
  std::span<const float> sequence;  ///< [H+1, nu] the refined plan u, relative to n
  double value = 0;                 ///< soft value V(x_0); NaN where nothing was planned
  double effective_samples = 0;
  double valid_share = 0;
  PlanStatus status = PlanStatus::ok;
  // the rest: of plan(PlanRequest)
  /// [H+1, nx] where `sequence` leads by the members' mean, from the state that was planned from;
  /// empty unless ControllerOptions::want_predicted, and where nothing was planned.
  std::span<const float> predicted;
  bool from_fallback = false;
  int rollouts_used = 0, iterations_done = 0;  ///< as SolveDone
  /// How much the members disagree about the first step: standard deviation over the members of
  /// each component's change, in units of the training's standard deviation of that component, root
  /// mean square over the components. NaN unless want_predicted, and of a single model.
  double disagreement = std::numeric_limits<double>::quiet_NaN();
  Nanoseconds duration{};         ///< wall time of the call
  std::uint64_t index = 0;        ///< counts plans of this controller, from 0
  std::uint64_t bundle_hash = 0;  ///< bundle_hash() of the nets that planned; 0: no bundle
};

/// The problem that a plan solved. Spans stay valid until the next call.
struct Solved {
  SolveKey key;                        ///< its problem has the id 0
  std::span<const float> observation;  ///< [nx] that was planned from, after command_delay
  std::span<const float> plan;         ///< [H+1, nu] before the solve
  std::span<const float> low, high;    ///< [nu] bounds of the action
  std::span<const float> parameters;   ///< of the reward; empty: its own
  SolveDone done;
};

/// What is sent where a plan is not usable().
enum class Fallback : std::uint8_t {
  shifted_plan,  ///< the plan of before, at the time asked for
  hold,          ///< the last command again
  rest,          ///< ControllerOptions::rest
  callback,      ///< what ControllerOptions::on_fallback says
};

/// A validator's word on a plan.
enum class Verdict : std::uint8_t {
  send,
  reject,             ///< the fallback is sent; planning goes on from the plan of before
  reject_and_restart  ///< the same, and the next plan is drawn anew
};

/// How a plan is read between its steps, where the time that passed is no whole number of them.
enum class Reading : std::uint8_t {
  linear,  ///< on the line between two steps
  hold,    ///< the step that the time lies in
};

struct PlanRequest {
  std::span<const float> observation;  ///< [nx]
  Nanoseconds state_time{};            ///< when it was measured; 0: one model step after the last
  /// When the plan is needed: rollouts that would end later are not started.
  SolveBudget::Clock::time_point deadline = no_deadline;
  Nanoseconds now{};  ///< the present, for max_state_age; 0: what steady_clock says
};

struct ControllerOptions {
  std::uint64_t seed = 1;
  int threads = 1;
  /// Borrowed; looked ahead with in place of the bundle's members, if given. The bundle's critic
  /// stays the terminal value; a device needs a formula's device_rules() (rules.h).
  const DynamicsModel* dynamics = nullptr;
  /// Borrowed; the terminal value in place of the bundle's critic, if given.
  const TerminalValue* value = nullptr;
  /// Where plans are computed. A device plans in the bundle's planner.precision (auto: float16).
  Device device = Device::cpu;
  const cuda::DeviceOptions* cuda = nullptr;  ///< cuda.h; null: the defaults

  // what follows is for plan(PlanRequest)
  int min_rollouts = 0;  ///< fewer in time are no plan; 0: a quarter of planner.rollouts
  Fallback fallback = Fallback::shifted_plan;
  int max_fallbacks = 0;          ///< in a row; after that rest is sent. 0: planner.horizon
  std::vector<float> rest{};      ///< [nu] inside the bounds; empty: n, clipped
  std::vector<float> max_rate{};  ///< [nu] largest change of the command per second; empty: none
  Nanoseconds max_state_age{};    ///< an older observation is stale_state; 0: none is
  Nanoseconds
      command_delay{};  ///< until a command acts: planned is for then; at most 64 model steps
  /// An observation that lies further outside the range that training saw (Bundle::state_low,
  /// state_high), in widths of that range, is unlikely_state; infinity: none is.
  double state_margin = 1;
  Reading reading = Reading::linear;
  /// Of the members' products, in place of the bundle's planner.precision.
  std::optional<Precision> precision{};
  /// FILE or FILE:MiB (1..65536, 64 if not given): a ring of the latest plans and all that decided
  /// them, in a file that outlives the process (black_box.h). The first plan that is not usable(),
  /// 10 s before and 2 s after it (at most half of the ring) are not written over. An earlier file
  /// is kept as FILE.1, .2, ... Where the file cannot be had, Controller::notes() says so, and
  /// plans are made without. On a disk a write may wait for the system; /dev/shm never does.
  std::string black_box{};
  bool want_predicted = false;  ///< Plan::predicted and disagreement: members * H model steps more
  /// Of Fallback::callback: the reason, the observation and where the action [nu] goes. It is
  /// clipped to the bounds; after an exception, or a number that is not finite, rest is sent.
  std::function<void(PlanStatus, std::span<const float>, std::span<float>)> on_fallback{};
  /// Sees observation and plan before the command leaves; an exception is Verdict::reject.
  std::function<Verdict(std::span<const float>, const Plan&)> validate{};
};

class Controller;
struct BlackBoxRecord;  // black_box.h

/// Nets and planner that can take the place of a controller's: loaded, checked, allocated and
/// tried, on any thread while the controller plans.
class Prepared {
 public:
  /// Throws Error in one sentence where `bundle` does not fit (sizes, bounds, dt, horizon, task),
  /// or where one of 16 plans from states that training saw is not finite or has a value further
  /// from theirs than 100 times the spread of the running nets' values, in plans and in 16 such.
  /// Those plans are made in the bundle's bounds, with the reward's own parameters.
  Prepared(const Controller& controller, const Bundle& bundle);
  Prepared(Prepared&&) noexcept;
  Prepared& operator=(Prepared&&) noexcept;
  ~Prepared();

 private:
  friend class Controller;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Owns nets, plan and scratch of one receding-horizon controller. One thread at a time; several
/// controllers are independent of each other.
class Controller {
 public:
  struct Impl;  // private to src/
  /// `reward` is borrowed; null if the bundle's members predict the reward. A bundle without
  /// members needs options.dynamics. Allocates everything and tries 16 plans, so that no later call
  /// allocates and the first is as fast as the others. Throws as make_planner, UsageError on an
  /// option that is out of its range, and Error where that plan is not finite.
  Controller(const Bundle& bundle, const RewardModel* reward, ControllerOptions options = {});
  /// Without a bundle: `models` are borrowed, options.dynamics and value are not read; `dt` is the
  /// model step in seconds.
  Controller(const PlannerConfig& config, const ProblemShape& shape, const Models& models,
             double dt, ControllerOptions options = {});
  Controller(Controller&&) noexcept;
  Controller& operator=(Controller&&) noexcept;
  ~Controller();

  /// "cpu", or "cuda (NAME)".
  std::string device() const;
  const ProblemShape& shape() const noexcept;
  double dt() const noexcept;  ///< seconds of a model step
  const PlannerConfig& config() const noexcept;
  const ControllerOptions& options() const noexcept;
  std::span<const float> rest() const noexcept;  ///< [nu] what Fallback::rest sends

  /// From the next plan on: all that is sent and looked ahead with keeps to these bounds [nu],
  /// low <= high inside shape()'s box, which they leave as it is, and n with it. `max_rate` gives
  /// way to them. False, and nothing is changed, where they are no such bounds. They stay until
  /// others come, with a state or by this call, and nothing is allocated. Not from a validator or
  /// fallback.
  bool set_bounds(std::span<const float> low, std::span<const float> high) noexcept;
  std::span<const float> action_low() const noexcept;   ///< [nu] the bounds of the next plan
  std::span<const float> action_high() const noexcept;  ///< [nu]
  /// From the next plan on the reward is that of these parameters (a goal, a speed limit) in place
  /// of its own, for this controller alone: RewardModel::reward_with(). False, and nothing is
  /// changed, where it takes none or not so many, or one is not finite. They stay as bounds do.
  bool set_parameters(std::span<const float> parameters) noexcept;

  /// Starts an episode: the plan is drawn from N(0, Sigma) around n, and no command was sent.
  void reset();
  /// Shifts the plan by one step and refines it, without allocating, from `observation` [nx].
  /// A NaN in the observation gives status bad_state and clip(shifted plan), never an exception;
  /// a wrong size throws Error, and so does a user's model.
  const Plan& plan(std::span<const float> observation);
  /// Moves the plan by the time that has passed, refines it and gives a command inside the bounds,
  /// whatever happens: a wrong size is bad_state. Does not allocate, lock (with one thread, on the
  /// CPU) or throw.
  const Plan& plan(const PlanRequest& request) noexcept SOFTMPC_NONBLOCKING;

  /// Bytes of everything that decides the next plan, bounds and the reward's parameters too; nets,
  /// options and what the reward has of its own apart.
  std::size_t state_size() const noexcept;
  /// False, and nothing is changed, where the span is not state_size() bytes; load: or holds
  /// anything but a state that a controller of the same sizes saved.
  bool save_state(std::span<std::byte> to) const noexcept;
  bool load_state(std::span<const std::byte> from) noexcept;

  /// Makes a recorded plan again, on a controller of the same bundle and options
  /// (BlackBox::options), from the state that it began with, which stays loaded. What time or a
  /// callback decided is taken from the record. Throws Error where the record is of another
  /// controller.
  const Plan& replay(const BlackBoxRecord& record);
  /// What the last plan was computed from; nothing where none was.
  std::optional<Solved> solved() const noexcept;

  /// Exchanges nets and planner between two plans; plan, time, bounds, parameters and counters go
  /// on. What planned before is in the argument afterwards.
  void swap(Prepared& prepared) noexcept SOFTMPC_NONBLOCKING;
  const Statistics& statistics() const noexcept;
  /// What the controller goes without, a line with one sentence each; empty where all is there.
  const std::string& notes() const noexcept;

 private:
  friend class Prepared;
  std::unique_ptr<Impl> impl_;
};

}  // namespace softmpc
