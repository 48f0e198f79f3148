// SPDX-License-Identifier: Apache-2.0
// An independent reader of TensorBoard event files, written from the format's description, with a
// checksum of its own. Throws std::runtime_error on anything that is not exactly right.
#pragma once

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

namespace softmpc::test {

struct DecodedScalar {
  std::int64_t step = 0;
  double wall_time = 0;
  std::string tag;
  float value = 0;
};

struct DecodedEvents {
  std::vector<std::string> versions;
  std::vector<DecodedScalar> scalars;
};

class EventDecoder {
 public:
  explicit EventDecoder(std::string bytes) : bytes_(std::move(bytes)) {}

  DecodedEvents decode() {
    DecodedEvents events;
    std::size_t at = 0;
    while (at < bytes_.size()) {
      const std::string length = take(at, 8);
      check_crc(length, take(at, 4));
      const std::string payload = take(at, fixed<std::uint64_t>(length));
      check_crc(payload, take(at, 4));
      decode_event(payload, events);
    }
    return events;
  }

 private:
  template <class T>
  static T fixed(const std::string& raw) {
    T value;
    std::memcpy(&value, raw.data(), sizeof(T));
    return value;
  }

  std::string take(std::size_t& at, std::uint64_t count) const { return take(bytes_, at, count); }

  static std::string take(const std::string& from, std::size_t& at, std::uint64_t count) {
    if (count > from.size() - at) throw std::runtime_error("record is cut");
    const std::string part = from.substr(at, count);
    at += count;
    return part;
  }

  static void check_crc(const std::string& text, const std::string& stored) {
    std::uint32_t crc = 0xffffffffu;
    for (const char c : text) {
      crc ^= static_cast<unsigned char>(c);
      for (int bit = 0; bit < 8; ++bit) crc = (crc & 1) != 0 ? (crc >> 1) ^ 0x82f63b78u : crc >> 1;
    }
    crc = ~crc;
    if (((crc >> 15) | (crc << 17)) + 0xa282ead8u != fixed<std::uint32_t>(stored)) {
      throw std::runtime_error("checksum differs");
    }
  }

  static std::uint64_t varint(const std::string& text, std::size_t& at) {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(text.at(at++));
      value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw std::runtime_error("varint is too long");
  }

  /// Calls field(number, raw) for each field; a varint comes as its eight bytes.
  template <class Visit>
  static void fields(const std::string& message, const Visit& field) {
    for (std::size_t at = 0; at < message.size();) {
      const std::uint64_t key = varint(message, at);
      std::string raw;
      switch (key & 7) {
        case 0: {
          const std::uint64_t value = varint(message, at);
          raw.assign(reinterpret_cast<const char*>(&value), 8);
          break;
        }
        case 1:
          raw = take(message, at, 8);
          break;
        case 2: {
          const std::uint64_t count = varint(message, at);
          raw = take(message, at, count);
          break;
        }
        case 5:
          raw = take(message, at, 4);
          break;
        default:
          throw std::runtime_error("unknown wire type");
      }
      field(key >> 3, raw);
    }
  }

  static void decode_event(const std::string& payload, DecodedEvents& events) {
    DecodedScalar head;
    std::vector<DecodedScalar> values;
    fields(payload, [&](std::uint64_t number, const std::string& raw) {
      if (number == 1) head.wall_time = fixed<double>(raw);
      if (number == 2) head.step = fixed<std::int64_t>(raw);
      if (number == 3) events.versions.push_back(raw);
      if (number == 5) {
        fields(raw, [&](std::uint64_t, const std::string& value) {
          DecodedScalar scalar;
          fields(value, [&](std::uint64_t part, const std::string& content) {
            if (part == 1) scalar.tag = content;
            if (part == 2) scalar.value = fixed<float>(content);
          });
          values.push_back(scalar);
        });
      }
    });
    for (DecodedScalar& scalar : values) {
      scalar.step = head.step;
      scalar.wall_time = head.wall_time;
      events.scalars.push_back(scalar);
    }
  }

  std::string bytes_;
};

}  // namespace softmpc::test
