// SPDX-License-Identifier: Apache-2.0
// The recorder of a controller: a ring of records in a mapped file, which the system keeps when the
// process dies.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "control/black_box_format.h"
#include "control/loop_state.h"
#include "softmpc/controller.h"

namespace softmpc {

/// ControllerOptions::black_box, taken apart.
struct BlackBoxPlace {
  /// Throws UsageError on a size that is out of range.
  explicit BlackBoxPlace(const std::string& option);
  std::string path;
  int mebibytes = 64;
};

class BlackBoxWriter {
 public:
  /// Throws Error naming the path where the file cannot be had: the whole of it is allocated, a
  /// black box that lies there is kept beside it as PATH.1, .2, ..., nothing else is touched.
  /// `text` is the header's JSON; states are recorded as `recorded` holds them.
  BlackBoxWriter(const BlackBoxPlace& place, int nx, LoopState recorded, const std::string& text);
  ~BlackBoxWriter();
  BlackBoxWriter(const BlackBoxWriter&) = delete;
  BlackBoxWriter& operator=(const BlackBoxWriter&) = delete;

  /// What decides a plan, and then the plan, which may wait in vain when the process dies.
  void begin(const LoopState& before, const PlanRequest& request, bool timed,
             SolveBudget::Clock::time_point begin, Precision precision) noexcept;
  void finish(const Plan& plan) noexcept;
  /// Nets of this hash plan from now on.
  void flies(std::uint64_t bundle_hash) noexcept;

 private:
  void map(const BlackBoxPlace& place, std::size_t bytes);
  std::span<std::byte> slot(std::uint64_t k) const;
  std::uint64_t next_slot() const;
  std::uint64_t first_since(std::int64_t time) const;
  void freeze(PlanStatus status);

  LoopState state_;  // as it is recorded
  black_box::Layout layout_;
  int nx_, file_ = -1;
  std::span<std::byte> mapped_;
  black_box::FileHead* head_ = nullptr;
  std::uint64_t slot_ = 0;  // of the next record
  black_box::RecordHead record_;
  // slots that are not written again: from frozen_slot_ to the latest, until frozen_until_
  std::uint64_t frozen_slot_ = 0, frozen_slots_ = 0;
  std::int64_t frozen_until_ = 0;
};

}  // namespace softmpc
