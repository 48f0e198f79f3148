// SPDX-License-Identifier: Apache-2.0
#include "replay.h"

#include <algorithm>
#include <string>

#include "softmpc/error.h"
#include "softmpc/hd/replay.h"

namespace softmpc {

Replay::Replay(int nx, int nu, int plan_size, std::int64_t capacity)
    : nx_(nx), nu_(nu), plan_size_(plan_size), capacity_(capacity) {
  if (capacity < 1 || capacity > 0xffffffffLL)
    throw UsageError("trainer.replay_capacity: " + std::to_string(capacity) +
                     " is out of range 1..4294967295");
}

std::span<const float> Replay::view(const Chunks& chunks, int floats, std::int64_t slot) {
  return {chunks[slot / kChunk].get() + slot % kChunk * floats, static_cast<std::size_t>(floats)};
}

std::span<float> Replay::slot_of(Chunks& chunks, int floats, std::int64_t slot) {
  while (static_cast<std::int64_t>(chunks.size()) <= slot / kChunk)
    chunks.push_back(std::make_unique<float[]>(static_cast<std::size_t>(kChunk) * floats));
  return {chunks[slot / kChunk].get() + slot % kChunk * floats, static_cast<std::size_t>(floats)};
}

void Replay::add(std::span<const float> x, std::span<const float> a, std::span<const float> next,
                 float reward, bool terminated, std::span<const float> plan) {
  const std::int64_t slot = added_ % capacity_;
  float* to = slot_of(records_, record_floats(), slot).data();
  to = std::copy(x.begin(), x.end(), to);
  to = std::copy(a.begin(), a.end(), to);
  to = std::copy(next.begin(), next.end(), to);
  *to++ = reward;
  *to = terminated ? 1.0f : 0.0f;
  ++added_;
  size_ = std::min(added_, capacity_);
  changed_records_.push_back(slot);
  set_plan(slot, plan);
}

void Replay::mark_plan(std::int64_t slot) {
  if (static_cast<std::int64_t>(plan_changed_.size()) <= slot)
    plan_changed_.resize((slot / kChunk + 1) * kChunk);
  if (plan_changed_[slot]) return;
  plan_changed_[slot] = 1;
  changed_plans_.push_back(slot);
}

void Replay::set_plan(std::int64_t slot, std::span<const float> plan) {
  std::copy(plan.begin(), plan.end(), slot_of(plans_, plan_size_, slot).begin());
  mark_plan(slot);
}

void Replay::clear_changes() {
  for (std::int64_t slot : changed_plans_) plan_changed_[slot] = 0;
  changed_plans_.clear();
  changed_records_.clear();
}

void Replay::restore(std::int64_t added) {
  added_ = added;
  size_ = std::min(added, capacity_);
}

void Replay::restore_record(std::int64_t slot, std::span<const float> record) {
  std::copy(record.begin(), record.end(), slot_of(records_, record_floats(), slot).begin());
}

void Replay::restore_plan(std::int64_t slot, std::span<const float> plan) {
  std::copy(plan.begin(), plan.end(), slot_of(plans_, plan_size_, slot).begin());
}

void Replay::draw(std::uint64_t seed, std::uint64_t draw, int n, std::int64_t pending,
                  ReplayBatch& batch) const {
  const auto size = static_cast<std::uint32_t>(std::min(added_ + pending, capacity_));
  batch.size = n;
  batch.slot.resize(n);
  for (int i = 0; i < n; ++i)
    batch.slot[i] = hd::replay_slot(seed, draw, static_cast<std::uint32_t>(i), size);
}

bool Replay::draws_pending(const ReplayBatch& batch, std::int64_t pending) const {
  return std::any_of(batch.slot.begin(), batch.slot.end(), [&](std::int64_t slot) {
    // how far the slot lies ahead of the next one written
    return (slot - added_ % capacity_ + capacity_) % capacity_ < pending;
  });
}

void Replay::state_range(std::vector<float>& low, std::vector<float>& high) const {
  low.clear();
  high.clear();
  for (std::int64_t slot = 0; slot < size_; ++slot) {
    const auto x = record(slot).first(nx_);
    if (slot == 0) {
      low.assign(x.begin(), x.end());
      high = low;
    }
    for (int i = 0; i < nx_; ++i) {
      low[i] = std::min(low[i], x[i]);
      high[i] = std::max(high[i], x[i]);
    }
  }
}

void Replay::gather(ReplayBatch& batch) const {
  const std::size_t n = batch.slot.size();
  for (auto [v, width] : {std::pair{&batch.x, nx_},
                          {&batch.a, nu_},
                          {&batch.next, nx_},
                          {&batch.reward, 1},
                          {&batch.terminated, 1},
                          {&batch.plan, plan_size_}})
    v->resize(n * width);
  for (std::size_t i = 0; i < n; ++i) {
    const float* from = record(batch.slot[i]).data();
    std::copy_n(from, nx_, batch.x.data() + i * nx_);
    std::copy_n(from += nx_, nu_, batch.a.data() + i * nu_);
    std::copy_n(from += nu_, nx_, batch.next.data() + i * nx_);
    batch.reward[i] = from[nx_];
    batch.terminated[i] = from[nx_ + 1];
    const auto stored = plan(batch.slot[i]);
    std::copy(stored.begin(), stored.end(), batch.plan.data() + i * plan_size_);
  }
}

}  // namespace softmpc
