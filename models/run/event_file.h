// SPDX-License-Identifier: Apache-2.0
// TensorBoard event files: TFRecord frames around Event messages. The few fields that scalars need
// are encoded here, because linking libprotobuf beside LibTorch, which carries its own, is a known
// source of crashes.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "io/atomic_file.h"

namespace softmpc {

/// One named number of a step.
using Scalar = std::pair<std::string, double>;

/// An event file that is opened for appending; a new or empty one gets the version record first.
class EventFile {
 public:
  /// `wall_time`: seconds since 1970.
  EventFile(const std::string& path, double wall_time);

  void add(std::int64_t step, double wall_time, std::span<const Scalar> scalars);
  void sync() { file_.sync(); }
  std::uint64_t size() const { return file_.size(); }
  /// Cuts back to an earlier size(); 0 leaves a file with the version record alone.
  void truncate(std::uint64_t size, double wall_time);
  const std::string& path() const { return file_.path(); }

 private:
  void write_version(double wall_time);

  AppendFile file_;
};

namespace event_format {

/// length, masked crc of length, payload, masked crc of payload.
std::string record(std::string_view payload);
/// Event { wall_time = 1; file_version = 3 }.
std::string version_event(double wall_time);
/// Event { wall_time = 1; step = 2; summary = 5 { value = 1 { tag = 1; simple_value = 2 } } }.
std::string scalar_event(std::int64_t step, double wall_time, std::span<const Scalar> scalars);

}  // namespace event_format
}  // namespace softmpc
