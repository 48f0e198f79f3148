// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace softmpc {

/// Which network a random initialisation is for.
enum Network : std::uint32_t { kMembers, kCritics, kPolicy };

}  // namespace softmpc
