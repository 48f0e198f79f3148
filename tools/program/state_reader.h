// SPDX-License-Identifier: Apache-2.0
// States that plans are asked from, as people write them.
#pragma once

#include <string>
#include <vector>

#include "softmpc/bundle.h"

namespace softmpc::tools {

/// States [[...], ...] of a file, or of standard input for "-"; rows and entries are counted from 0
/// as in the JSON. Throws Error naming row, entry and rule.
std::vector<std::vector<float>> read_states(const std::string& path, const Bundle& bundle);
/// One state: a JSON array, or numbers with spaces, newlines or commas between. Throws likewise.
std::vector<float> read_state(const std::string& path, const Bundle& bundle);

}  // namespace softmpc::tools
