// SPDX-License-Identifier: Apache-2.0
// Tests for src/crc32c.cpp. Check values: RFC 3720, appendix B.4.
#include "io/crc32c.h"

#include <gtest/gtest.h>

#include <string>

namespace softmpc {
namespace {

/// The definition, bit by bit.
std::uint32_t slow_crc32c(std::string_view text) {
  std::uint32_t crc = 0xffffffffu;
  for (const char c : text) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78u : 0u);
  }
  return ~crc;
}

TEST(Crc32c, AgreesWithPublishedValues) {
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  EXPECT_EQ(crc32c(""), 0u);
}

TEST(Crc32c, AgreesWithTheDefinitionAtEveryLength) {
  std::string text;
  for (int n = 0; n < 100; ++n) {
    EXPECT_EQ(crc32c(text), slow_crc32c(text)) << n;
    text.push_back(static_cast<char>(n * 37 + 11));
  }
}

TEST(Crc32c, ContinuesFromAPart) {
  const std::string text = "a text that is read in two parts, of any length";
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    EXPECT_EQ(crc32c(text.substr(cut), crc32c(text.substr(0, cut))), crc32c(text)) << cut;
  }
}

}  // namespace
}  // namespace softmpc
