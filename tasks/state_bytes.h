// SPDX-License-Identifier: Apache-2.0
// Saved environment states: header (magic, version, fingerprint of task and build, size), values,
// checksum. The native byte order is part of "the same build".
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "softmpc/error.h"

namespace softmpc::tasks {

/// FNV-1a, 64 bits.
class StateHash {
 public:
  void add(const void* data, std::size_t size) {
    const auto* bytes = static_cast<const unsigned char*>(data);
    for (std::size_t i = 0; i < size; ++i) value_ = (value_ ^ bytes[i]) * 0x100000001b3ull;
  }
  void add(std::string_view text) { add(text.data(), text.size()); }
  template <class T>
  void add_value(const T& value) {
    add(&value, sizeof value);
  }
  std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = 0xcbf29ce484222325ull;
};

struct StateHeader {
  char magic[8] = {'s', 'm', 'p', 'c', 'e', 'n', 'v', '\0'};
  std::uint64_t version = 1;
  std::uint64_t fingerprint = 0;
  std::uint64_t payload = 0;  // bytes between header and checksum
};

class StateWriter {
 public:
  explicit StateWriter(std::uint64_t fingerprint) : bytes_(sizeof(StateHeader)) {
    header_.fingerprint = fingerprint;
  }
  template <class T>
  void add(const T* values, std::size_t count) {
    static_assert(std::is_trivially_copyable_v<T>);
    const auto* bytes = reinterpret_cast<const std::byte*>(values);
    bytes_.insert(bytes_.end(), bytes, bytes + count * sizeof(T));
  }
  template <class T>
  void add_value(const T& value) {
    add(&value, 1);
  }
  std::vector<std::byte> finish() {
    header_.payload = bytes_.size() - sizeof header_;
    std::memcpy(bytes_.data(), &header_, sizeof header_);
    StateHash hash;
    hash.add(bytes_.data(), bytes_.size());
    add_value(hash.value());
    return std::move(bytes_);
  }

 private:
  StateHeader header_;
  std::vector<std::byte> bytes_;
};

/// Checks everything before the first value is handed out.
class StateReader {
 public:
  StateReader(std::span<const std::byte> bytes, std::uint64_t fingerprint, const std::string& task)
      : bytes_(bytes), task_(task) {
    const StateHeader expected;
    StateHeader header;
    std::uint64_t checksum = 0;
    if (bytes.size() < sizeof header + sizeof checksum) fail("is too short");
    std::memcpy(&header, bytes.data(), sizeof header);
    if (std::memcmp(header.magic, expected.magic, sizeof header.magic) != 0) {
      fail("is not a saved environment");
    }
    if (header.version != expected.version) {
      fail("has version " + std::to_string(header.version) + ", must be " +
           std::to_string(expected.version));
    }
    end_ = bytes.size() - sizeof checksum;
    if (header.payload != end_ - sizeof header) fail("is cut off or has bytes to spare");
    StateHash hash;
    hash.add(bytes.data(), end_);
    std::memcpy(&checksum, bytes.data() + end_, sizeof checksum);
    if (checksum != hash.value()) fail("is corrupt: the checksum differs");
    if (header.fingerprint != fingerprint) fail("is of another task, variant or MuJoCo version");
    position_ = sizeof header;
  }
  template <class T>
  void read(T* values, std::size_t count) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (count * sizeof(T) > end_ - position_) fail("holds too few values");
    std::memcpy(values, bytes_.data() + position_, count * sizeof(T));
    position_ += count * sizeof(T);
  }
  template <class T>
  T value() {
    T result{};
    read(&result, 1);
    return result;
  }
  void finish() const {
    if (position_ != end_) fail("holds too many values");
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(task_ + ": saved environment state " + what);
  }

  std::span<const std::byte> bytes_;
  std::string task_;
  std::size_t position_ = 0, end_ = 0;
};

}  // namespace softmpc::tasks
