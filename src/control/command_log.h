// SPDX-License-Identifier: Apache-2.0
// Commands that were sent, and when they act.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace softmpc {

/// The last commands, each with the time from which it acts (ns). Never allocates after creation.
struct CommandLog {
  CommandLog(int nu, int capacity)
      : times(capacity), actions(static_cast<std::size_t>(capacity) * nu), nu_(nu) {}

  void clear() { ring = {}; }
  void add(std::int64_t time, std::span<const float> action);
  /// The latest commands of another, as many as have room.
  void take(const CommandLog& other);
  /// The latest command; empty if there is none.
  std::span<const float> last() const;
  /// The one that acts at `time`: the latest that began until then, or the oldest that is known.
  std::span<const float> at(std::int64_t time) const;
  /// Whether all that act at `time` or later are there, of `other`, which these were taken from.
  bool covers(std::int64_t time, const CommandLog& other) const {
    return ring.count == other.ring.count || times[slot(ring.count - 1)] <= time;
  }
  /// Whether these numbers are those of a log, however they came here.
  bool valid() const;

  struct Ring {
    std::int32_t count = 0, next = 0;
  } ring;
  std::vector<std::int64_t> times;  // [capacity]
  std::vector<float> actions;       // [capacity, nu]

 private:
  int capacity() const { return static_cast<int>(times.size()); }
  /// Of the k-th from the latest, 0..count-1.
  int slot(int k) const { return (ring.next - 1 - k + 2 * capacity()) % capacity(); }
  std::span<const float> action(int slot) const {
    return std::span(actions).subspan(static_cast<std::size_t>(slot) * nu_, nu_);
  }
  int nu_;
};

}  // namespace softmpc
