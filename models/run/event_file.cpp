// SPDX-License-Identifier: Apache-2.0
// The wire format of protobuf and TFRecord, as far as scalars need it.
#include "run/event_file.h"

#include <bit>
#include <cstring>

#include "io/crc32c.h"

namespace softmpc {
namespace event_format {
namespace {

enum class Wire { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

template <class T>
void put_fixed(std::string& out, T value) {
  static_assert(std::endian::native == std::endian::little);
  char raw[sizeof(T)];
  std::memcpy(raw, &value, sizeof(T));
  out.append(raw, sizeof(T));
}

void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

void put_key(std::string& out, std::uint32_t field, Wire wire) {
  put_varint(out, field << 3 | static_cast<std::uint32_t>(wire));
}

void put_bytes(std::string& out, std::uint32_t field, std::string_view text) {
  put_key(out, field, Wire::bytes);
  put_varint(out, text.size());
  out += text;
}

// TFRecord: a crc that is stored with the data it covers is rotated and shifted first.
std::uint32_t masked_crc(std::string_view text) {
  return std::rotr(crc32c(text), 15) + 0xa282ead8u;
}

}  // namespace

std::string record(std::string_view payload) {
  std::string length;
  put_fixed(length, static_cast<std::uint64_t>(payload.size()));
  std::string out = length;
  put_fixed(out, masked_crc(length));
  out += payload;
  put_fixed(out, masked_crc(payload));
  return out;
}

std::string version_event(double wall_time) {
  std::string event;
  put_key(event, 1, Wire::fixed64);
  put_fixed(event, wall_time);
  put_bytes(event, 3, "brain.Event:2");
  return event;
}

std::string scalar_event(std::int64_t step, double wall_time, std::span<const Scalar> scalars) {
  std::string summary;
  for (const auto& [tag, number] : scalars) {
    std::string value;
    put_bytes(value, 1, tag);
    put_key(value, 2, Wire::fixed32);
    put_fixed(value, static_cast<float>(number));
    put_bytes(summary, 1, value);
  }
  std::string event;
  put_key(event, 1, Wire::fixed64);
  put_fixed(event, wall_time);
  put_key(event, 2, Wire::varint);
  put_varint(event, static_cast<std::uint64_t>(step));
  put_bytes(event, 5, summary);
  return event;
}

}  // namespace event_format

EventFile::EventFile(const std::string& path, double wall_time) : file_(path) {
  if (file_.size() == 0) write_version(wall_time);
}

void EventFile::add(std::int64_t step, double wall_time, std::span<const Scalar> scalars) {
  file_.append(event_format::record(event_format::scalar_event(step, wall_time, scalars)));
}

void EventFile::truncate(std::uint64_t size, double wall_time) {
  file_.truncate(size);
  if (size == 0) write_version(wall_time);
}

void EventFile::write_version(double wall_time) {
  file_.append(event_format::record(event_format::version_event(wall_time)));
}

}  // namespace softmpc
