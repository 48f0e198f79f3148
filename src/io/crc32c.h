// SPDX-License-Identifier: Apache-2.0
// CRC-32C (Castagnoli), the checksum of bundles, checkpoints and TensorBoard records.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace softmpc {

/// CRC-32C of `bytes`; `before` is the checksum of what precedes them.
std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t before = 0);
std::uint32_t crc32c(std::string_view text, std::uint32_t before = 0);

}  // namespace softmpc
