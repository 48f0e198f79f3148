// SPDX-License-Identifier: Apache-2.0
// How a black box lies in its file: a head, a text (JSON) behind it, and from kHeadBytes on a ring
// of records of one size. Numbers are little-endian. A record is whole when its checksum is right.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "io/crc32c.h"

namespace softmpc::black_box {

inline constexpr std::array<char, 8> kMagic = {'S', 'M', 'P', 'C', 'B', 'O', 'X', '\n'};
inline constexpr std::uint32_t kVersion = 1;
inline constexpr int kCommands = 64;  ///< under way to the robot that a record has room for
inline constexpr std::size_t kHeadBytes = 1 << 16, kLine = 64;

struct FileHead {
  std::array<char, 8> magic = kMagic;
  std::uint32_t version = kVersion;
  std::uint32_t text_checksum = 0;
  std::uint64_t text_bytes = 0, record_bytes = 0, slots = 0;
  std::uint64_t frozen_first = 0, frozen_last = 0;  ///< numbers; 0: none
  std::uint64_t bundles = 0;                        ///< that flew
  std::array<std::uint64_t, 256> bundle{};          ///< their hashes; of more the first
};

/// Then observation [nx], action [nu], sequence [H+1, nu], the state's bytes.
struct RecordHead {
  std::uint32_t checksum = 0;  ///< of all that follows
  std::int32_t status = 0;
  std::uint64_t number = 0;  ///< 0: nothing was written here
  std::int64_t begin = 0, state_time = 0, now = 0, deadline = 0, duration = 0;  ///< ns
  std::uint64_t index = 0, bundle_hash = 0, observation_size = 0;
  double value = 0, effective_samples = 0, valid_share = 0, disagreement = 0;
  std::int32_t rollouts_used = 0, iterations_done = 0;
  std::uint8_t from_fallback = 0, timed = 0, precision = 0;
  std::uint8_t cut = 0;  ///< more commands were under way than the state has room for
  std::array<std::uint8_t, 4> unused{};
};

/// Where the parts of a record lie, in bytes from its begin.
struct Layout {
  Layout(int nx, int nu, int horizon, std::size_t state_bytes)
      : observation(sizeof(RecordHead)),
        action(observation + sizeof(float) * nx),
        sequence(action + sizeof(float) * nu),
        state(sequence + sizeof(float) * nu * (horizon + 1)),
        end(state + state_bytes),
        whole((end + kLine - 1) / kLine * kLine) {}
  std::size_t observation, action, sequence, state, end, whole;
};

inline std::uint32_t checksum(std::span<const std::byte> record, const Layout& at) {
  constexpr std::size_t kFrom = sizeof(RecordHead::checksum);
  return crc32c(record.subspan(kFrom, at.end - kFrom));
}

}  // namespace softmpc::black_box
