// SPDX-License-Identifier: Apache-2.0
// A planner thread around a controller: a robot's loop hands states in and reads commands out at
// its own rate, and never waits for a plan.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "softmpc/controller.h"

namespace softmpc {

/// When a runner plans.
enum class Trigger : std::uint8_t {
  new_state,  ///< as soon as there is a state that was not planned from
  period,     ///< every RunnerOptions::period, from the latest state, be it new or not
};

struct RunnerOptions {
  Trigger trigger = Trigger::new_state;
  /// Of Trigger::period: 1 ns..1 h. Wake-ups that a long plan has missed are left out.
  Nanoseconds period{};
  /// What a plan may take, 0..1 h: its deadline is the thread's wake-up and this; 0: no deadline.
  Nanoseconds budget{};
  /// How the plan is read between its steps; `hold` is how it was rolled out.
  Reading reading = Reading::hold;
  // The planner thread; the others of ControllerOptions::threads stay as they are. What the system
  // refuses is in notes().
  int priority = 0;          ///< SCHED_FIFO 1..99; 0: that of the thread that makes the runner
  int cpu = -1;              ///< it runs on this one, 0..1023; -1: on any
  bool lock_memory = false;  ///< no page of the process leaves memory (mlockall), now and later
};

/// Where a command comes from.
struct CommandInfo {
  /// Whether there is a plan. Until the first the action is rest, and the rest here says nothing.
  bool known = false;
  /// t lies after the plan's last step; the action is rest.
  bool beyond_horizon = false;
  bool from_fallback = false;  ///< as Plan, and so on
  PlanStatus status = PlanStatus::no_time;
  std::uint64_t index = 0;
  std::uint64_t bundle_hash = 0;
  Nanoseconds state_time{};  ///< when the state was measured that was planned from
  Nanoseconds age{};         ///< t - state_time
};

/// Owns a controller and the thread that it plans on. All times are of the caller's one monotonic
/// clock, as in PlanRequest; ControllerOptions::max_state_age needs that to be steady_clock. "Rest"
/// is ControllerOptions::rest, or n, clipped to the controller's bounds, which are set before.
class Runner {
 public:
  /// Throws UsageError on an option that is out of its range, Error where no thread starts; then
  /// the controller stays where it was.
  explicit Runner(Controller&& controller, RunnerOptions options = {});
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;
  ~Runner();  ///< stops

  /// Hands in what was measured; the latest counts, earlier ones that wait are forgotten. From one
  /// thread at a time. Wait-free: no lock, no allocation; under Trigger::new_state one system call,
  /// a few microseconds, where the planner sleeps. Not taken, but counted in ignored(), is an
  /// observation that has not nx entries, or a time of 0.
  void submit(std::span<const float> observation,
              Nanoseconds measured) noexcept SOFTMPC_NONBLOCKING;

  /// The newest plan's command at `t`, to `action` [nu] (of another size nothing is written, and
  /// `known` is false). The first step of a plan begins at its state's time and command_delay and
  /// is Plan::action, also for a `t` before it; a later step k is clip(n + u_k), also under a
  /// policy or after a fallback, and max_rate does not hold between steps; after the H + 1 steps
  /// comes rest.
  /// From any threads at once, also after stop(). No lock, no allocation, no system call, no wait:
  /// a copy is tried again only where the planner finished several plans meanwhile, and a thread
  /// that was held up so in each of 64 tries gets rest, `known` false. What one thread reads never
  /// goes back to an older plan.
  CommandInfo command_at(Nanoseconds t, std::span<float> action) const noexcept SOFTMPC_NONBLOCKING;

  /// Nets for offer(), made while the planner goes on, from any thread but not during stop().
  /// Throws as the constructor of Prepared, and UsageError after stop().
  Prepared prepare(const Bundle& bundle) const;
  /// Has the next plan swap nets with `nets`. False, and `nets` is untouched, while an earlier
  /// offer waits for its plan, and after stop(). From any thread, not during stop(). Never on the
  /// planner thread: the nets that were swapped out are freed by the next offer that is taken, by
  /// stop() or the destructor.
  bool offer(Prepared&& nets) noexcept;

  /// The controller's as of the last plan, all numbers of the same moment. From any thread.
  Statistics statistics() const;
  std::uint64_t ignored() const noexcept;  ///< calls of submit() that were not taken

  /// Waits for a plan that is being made, ends the thread and gives the controller back; an offer
  /// that still waits is dropped. Afterwards submit() does nothing. Throws UsageError the second
  /// time.
  Controller stop();

  /// What the system refused of priority, cpu and lock_memory, a line with one sentence each; empty
  /// where nothing was.
  const std::string& notes() const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace softmpc
