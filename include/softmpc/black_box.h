// SPDX-License-Identifier: Apache-2.0
// What a controller with ControllerOptions::black_box has recorded: for each plan everything that
// decided it and what came out, so that it can be made again on the desk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "softmpc/controller.h"

namespace softmpc {

/// One plan. Spans point into the BlackBox.
struct BlackBoxRecord {
  std::uint64_t number = 0;  ///< counts the records of a file, from 1
  Nanoseconds begin{};       ///< steady_clock of the recording process, when the plan was asked for
  bool timed = true;         ///< plan(PlanRequest), not plan(observation)
  /// More commands were on their way to the robot (ControllerOptions::command_delay) than a record
  /// has room for, 64: it cannot be made again.
  bool cut = false;
  // what decided it, beside the bundle
  std::span<const std::byte> state;    ///< what decides a plan, before it
  std::span<const float> observation;  ///< [nx], fewer where fewer were given
  std::size_t observation_size = 0;    ///< entries that were given
  Nanoseconds state_time{}, now{};     ///< as in PlanRequest; `now` is set where an age was limited
  Nanoseconds deadline{};              ///< of steady_clock; Nanoseconds::max(): none
  Precision precision{};               ///< of the members; never automatic on a CPU
  /// What came out; spans as there, but `predicted` is empty.
  Plan plan;
};

/// Whether `plan` is what was recorded, to the last bit, times and bundle apart.
bool same_bits(const BlackBoxRecord& record, const Plan& plan);

/// A recorded file, copied: it may be read while it is written.
class BlackBox {
 public:
  /// Throws Error naming `path` where it cannot be read, or its header is not that of a black box.
  explicit BlackBox(const std::string& path);
  /// The same from a file's bytes; `name` stands for it in errors.
  BlackBox(std::string bytes, const std::string& name);

  /// JSON: softmpc's version, compiler, instruction set, device, sizes, task, planner, options.
  const std::string& header() const { return header_; }
  /// Those of the recorded controller, without models and callbacks. A replay needs none.
  const ControllerOptions& options() const { return options_; }
  /// Whether this program makes plans as the recorder did: version, compiler, instruction set.
  bool of_this_program() const { return of_this_program_; }
  /// bundle_hash() of all bundles that flew, in order of their first flight; 0: without a bundle.
  const std::vector<std::uint64_t>& bundles() const { return bundles_; }
  /// Intact records, in order of their numbers.
  std::size_t size() const { return records_.size(); }
  BlackBoxRecord operator[](std::size_t i) const;
  /// Places whose record's checksum is wrong: one is being written, or was when its process ended.
  std::size_t damaged() const { return damaged_; }
  /// Numbers of the first and last record that are kept for good, 0: none.
  std::uint64_t frozen_first() const { return frozen_first_; }
  std::uint64_t frozen_last() const { return frozen_last_; }

 private:
  std::string bytes_, header_;
  ControllerOptions options_;
  bool of_this_program_ = false;
  int nx_ = 0, nu_ = 0, horizon_ = 0;
  std::size_t state_bytes_ = 0;
  std::vector<std::uint64_t> bundles_;
  std::vector<std::size_t> records_;  // where they begin
  std::size_t damaged_ = 0;
  std::uint64_t frozen_first_ = 0, frozen_last_ = 0;
};

}  // namespace softmpc
