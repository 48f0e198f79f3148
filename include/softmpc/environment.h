// SPDX-License-Identifier: Apache-2.0
// An episodic environment with Gymnasium's step semantics.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace softmpc {

/// Result of Environment::step.
struct Transition {
  double reward = 0;
  bool terminated = false;  ///< the task's own end; no value beyond it
  bool truncated = false;   ///< the time limit; the state's value still counts
};

class Environment {
 public:
  virtual ~Environment() = default;
  virtual int observation_size() const = 0;
  virtual int action_size() const = 0;
  /// Starts an episode; the start state is a function of `seed` alone.
  virtual void reset(std::uint64_t seed, std::span<double> observation) = 0;
  /// Starts an episode from a simulator state: generalised positions and velocities.
  virtual void reset_to(std::span<const double> positions, std::span<const double> velocities,
                        std::span<double> observation) = 0;
  /// The simulator's present generalised positions and velocities.
  virtual void read_state(std::vector<double>& positions,
                          std::vector<double>& velocities) const = 0;
  /// One control step. `action` [nu] is used as given (the simulator clamps controls itself).
  virtual Transition step(std::span<const float> action, std::span<double> observation) = 0;
  /// Everything that decides what follows, as opaque bytes; load() of it continues bit for bit.
  virtual std::vector<std::byte> save() const = 0;
  /// Throws Error if `state` was not saved by an environment of the same task and build.
  virtual void load(std::span<const std::byte> state) = 0;
};

}  // namespace softmpc
