// SPDX-License-Identifier: Apache-2.0
// Replay memory: transitions, each with the plan that was refined after it (the warm start).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace softmpc {

/// A batch as plain arrays; rows follow the sampled slots.
struct ReplayBatch {
  int size = 0;                    ///< N
  std::vector<std::int64_t> slot;  ///< [N]
  std::vector<float> x, a, next;   ///< [N, nx], [N, nu], [N, nx]
  std::vector<float> reward;       ///< [N]
  std::vector<float> terminated;   ///< [N] 0 or 1
  std::vector<float> plan;         ///< [N, H+1, nu]
};

/// Ring buffer in chunks, so that memory grows with what is stored and never moves. One slot of
/// Hopper at horizon 4 takes 173 bytes.
class Replay {
 public:
  Replay(int nx, int nu, int plan_size, std::int64_t capacity);

  /// Of a slot, its record and plan.
  std::uint64_t slot_bytes() const { return sizeof(float) * (record_floats() + plan_floats()) + 1; }
  std::int64_t size() const { return size_; }
  std::int64_t capacity() const { return capacity_; }
  /// Transitions ever added.
  std::int64_t added() const { return added_; }

  void add(std::span<const float> x, std::span<const float> a, std::span<const float> next,
           float reward, bool terminated, std::span<const float> plan);
  /// n slots with replacement, a function of (seed, draw), out of those that are there once
  /// `pending` more have been added. Requires at least one.
  void draw(std::uint64_t seed, std::uint64_t draw, int n, std::int64_t pending,
            ReplayBatch& batch) const;
  /// True if a drawn slot is one that the next `pending` transitions go to.
  bool draws_pending(const ReplayBatch& batch, std::int64_t pending) const;
  /// Least and largest of each component of x, [nx]; empty while nothing was added.
  void state_range(std::vector<float>& low, std::vector<float>& high) const;
  /// Copies the drawn slots.
  void gather(ReplayBatch& batch) const;
  /// Replaces the stored plan of a slot.
  void set_plan(std::int64_t slot, std::span<const float> plan);

  // Stored form of a slot, for checkpoints: [x, a, next, reward, terminated] and [plan].
  int record_floats() const { return 2 * nx_ + nu_ + 2; }
  int plan_floats() const { return plan_size_; }
  std::span<const float> record(std::int64_t slot) const {
    return view(records_, record_floats(), slot);
  }
  std::span<const float> plan(std::int64_t slot) const { return view(plans_, plan_size_, slot); }
  /// Says that a slot's plan changed where it is kept beside this one (on a device).
  void mark_plan(std::int64_t slot);
  /// Slots whose record or plan changed since the last clear_changes(), each once.
  const std::vector<std::int64_t>& changed_records() const { return changed_records_; }
  const std::vector<std::int64_t>& changed_plans() const { return changed_plans_; }
  void clear_changes();
  /// Restores the counters; records and plans follow by restore_*().
  void restore(std::int64_t added);
  void restore_record(std::int64_t slot, std::span<const float> record);
  void restore_plan(std::int64_t slot, std::span<const float> plan);

 private:
  static constexpr std::int64_t kChunk = 1 << 14;
  using Chunks = std::vector<std::unique_ptr<float[]>>;
  static std::span<const float> view(const Chunks& chunks, int floats, std::int64_t slot);
  static std::span<float> slot_of(Chunks& chunks, int floats, std::int64_t slot);

  int nx_, nu_, plan_size_;
  std::int64_t capacity_, size_ = 0, added_ = 0;
  Chunks records_, plans_;
  std::vector<std::uint8_t> plan_changed_;  // [slots]
  std::vector<std::int64_t> changed_records_, changed_plans_;
};

}  // namespace softmpc
