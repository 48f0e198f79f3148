// SPDX-License-Identifier: Apache-2.0
// A robot as a process of its own: its simulator goes on by the clock, whatever the controller
// does.
#pragma once

#include <sys/types.h>
#include <time.h>

#include <cstdint>
#include <memory>
#include <span>

#include "bench/fine_task.h"

namespace softmpc::tools {

/// ns of a clock, CLOCK_MONOTONIC for one.
std::int64_t now_of(clockid_t clock);
std::int64_t monotonic_now();
void sleep_until(std::int64_t time);

class RobotProcess {
 public:
  /// Made before what is measured: each page that a process has when another is split off costs a
  /// fault at its next write. Throws Error where no process starts, or the task is too large.
  RobotProcess(FineTask& task, std::int64_t period, std::uint64_t seed);
  ~RobotProcess();
  RobotProcess(const RobotProcess&) = delete;
  RobotProcess& operator=(const RobotProcess&) = delete;

  /// Starts an episode with the first tick, a `period` (ns) from now; after an episode's end
  /// another with the next seed.
  void start();

  struct Seen {
    std::int64_t time = 0;      ///< of the tick
    std::uint64_t episode = 0;  ///< from 1; 0: the robot has not begun
  };
  /// The latest tick's observation [nx].
  Seen observe(std::span<float> x) const;
  /// What acts from the next tick on, [nu], if the episode still lasts.
  void command(std::uint64_t episode, std::span<const float> action);
  std::uint64_t falls() const;
  std::uint64_t steps() const;

 private:
  struct Shared;
  [[noreturn]] static void live(FineTask& task, Shared& shared, std::int64_t period,
                                std::uint64_t seed);
  Shared* shared_ = nullptr;
  pid_t process_ = -1;
};

}  // namespace softmpc::tools
