// SPDX-License-Identifier: Apache-2.0
// CRC-32C by tables, eight bytes at a time. Reflected polynomial 0x82f63b78.
#include "io/crc32c.h"

#include <array>
#include <bit>
#include <cstring>

namespace softmpc {
namespace {

static_assert(std::endian::native == std::endian::little, "files hold little-endian numbers");

using Tables = std::array<std::array<std::uint32_t, 256>, 8>;

// table[n][b]: what byte b does to the checksum when n more bytes follow it.
constexpr Tables make_tables() {
  Tables table{};
  for (std::uint32_t b = 0; b < 256; ++b) {
    std::uint32_t crc = b;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78u : 0u);
    table[0][b] = crc;
  }
  for (std::size_t n = 1; n < 8; ++n) {
    for (std::size_t b = 0; b < 256; ++b) {
      table[n][b] = (table[n - 1][b] >> 8) ^ table[0][table[n - 1][b] & 0xff];
    }
  }
  return table;
}

constexpr Tables kTable = make_tables();

}  // namespace

std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t before) {
  std::uint32_t crc = ~before;
  const std::byte* p = bytes.data();
  std::size_t left = bytes.size();
  for (; left >= 8; p += 8, left -= 8) {
    std::uint64_t word;
    std::memcpy(&word, p, 8);
    word ^= crc;
    crc = 0;
    for (std::size_t i = 0; i < 8; ++i) crc ^= kTable[7 - i][(word >> (8 * i)) & 0xff];
  }
  for (; left > 0; ++p, --left) {
    crc = (crc >> 8) ^ kTable[0][(crc ^ std::to_integer<std::uint32_t>(*p)) & 0xff];
  }
  return ~crc;
}

std::uint32_t crc32c(std::string_view text, std::uint32_t before) {
  return crc32c(std::as_bytes(std::span(text.data(), text.size())), before);
}

}  // namespace softmpc
